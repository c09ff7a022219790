//! One request and what becomes of it. Every request of a run goes through the loop in `send`; `schedule` says when, and
//! `retry` decides what comes after a failed attempt.

mod api;
mod body;
mod client;
mod connector;
mod deadline;
mod error;
mod exchange;
mod models;
mod own_words;
mod pacing;
mod pages;
mod proxy_error;
mod resolver;
mod response;
mod retry;
mod schedule;
mod send;
#[cfg(test)]
pub mod test_server;
mod tls_error;
mod token;
mod transport_error;

pub use api::Api;
pub use body::give_large_blocks_back;
pub use client::MAX_CONNECTIONS;
pub use deadline::{Deadline, MAX_TIMEOUT};
pub use error::{Kind, RequestError, Retry};
pub use pages::Event;
