//! The program as a process, over real sockets and real TLS on loopback. It needs nothing but cargo.

mod availability;
mod batch;
mod checkpoints;
mod docs;
mod faults;
mod hostile;
mod identity;
mod list;
mod memory;
mod messages;
mod models;
mod mutual_tls;
mod protocol;
mod proxy;
mod round_trips;
mod servers;
#[path = "../support/mod.rs"]
mod support;
mod tls;
mod wait;
