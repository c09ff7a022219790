//! Every integration test, in one binary: real processes, real sockets, real TLS, real Terraform.

mod helper;
mod protocol;
mod sample_api;
