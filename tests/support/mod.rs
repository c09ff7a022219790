//! What the tests share: the program as a process, a sample of the API, certificates, proxies, and real engines.

#![allow(dead_code)] // each target uses a part of it

pub mod certificates;
pub mod engines;
pub mod markdown;
pub mod openai;
pub mod program;
pub mod proxy;
pub mod relay;
pub mod sample_api;
#[cfg(unix)]
pub mod terminal;
