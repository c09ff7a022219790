//! Every integration test, in one binary: real processes, real sockets, real TLS, real Terraform.

mod certificates;
mod demo;
mod engines;
mod faults;
mod helper;
mod many;
mod messages;
mod package;
mod protocol;
mod proxy;
mod readme;
mod relay;
mod round_trips;
mod sample_api;
mod terraform;
mod tls;
mod wait;
mod workflows;
