//! The sample API by itself, to try things out by hand: `cargo run --example sample-api [FOLDER]`. With a folder it
//! speaks TLS, and puts `authority.pem` there for SSL_CERT_FILE.

#![allow(dead_code)] // what only the tests use

#[path = "../certificates.rs"]
mod certificates;
#[path = "mod.rs"]
mod sample_api;

use std::io::{self, Write};
use std::path::Path;
use std::{env, fs, thread};

use certificates::Authority;
use sample_api::SampleApi;

fn main() -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let api = match env::args_os().nth(1) {
        None => SampleApi::start(),
        Some(folder) => {
            let authority = Authority::new();
            let file = Path::new(&folder).join("authority.pem");
            fs::copy(authority.file(), &file)?;
            writeln!(stdout, "SSL_CERT_FILE={}", file.display())?;
            SampleApi::start_tls(authority.server("127.0.0.1"))
        }
    };
    writeln!(stdout, "OPENAI_BASE_URL={}", api.url())?;
    for job in sample_api::jobs() {
        writeln!(stdout, "# {}", job["id"].as_str().unwrap_or_default())?;
    }
    stdout.flush()?;
    loop {
        thread::park();
    }
}
