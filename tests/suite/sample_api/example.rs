//! The sample API by itself, to try things out by hand: `cargo run --example sample-api`.

#![allow(dead_code)] // what only the tests use

#[path = "mod.rs"]
mod sample_api;

use std::io::{self, Write};
use std::thread;

fn main() -> io::Result<()> {
    let api = sample_api::SampleApi::start();
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "OPENAI_BASE_URL={}", api.url())?;
    for job in sample_api::jobs() {
        writeln!(stdout, "# {}", job["id"].as_str().unwrap_or_default())?;
    }
    stdout.flush()?;
    loop {
        thread::park();
    }
}
