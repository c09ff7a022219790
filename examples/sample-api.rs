//! The sample API by itself, to try things out by hand: `cargo run --example sample-api [FOLDER]`. With a folder it
//! speaks TLS, and puts `ca.pem` there for SSL_CERT_FILE.

#![allow(dead_code)] // what only the tests use

#[path = "../tests/support/certificates.rs"]
mod certificates;
#[path = "../tests/support/sample_api/mod.rs"]
mod sample_api;

use std::io::{self, Write};
use std::path::Path;
use std::{env, fs, thread};

use certificates::CertificateAuthority;
use sample_api::SampleApi;

fn main() -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let api = match env::args_os().nth(1) {
        None => SampleApi::start(),
        Some(folder) => {
            let ca = CertificateAuthority::new();
            let file = Path::new(&folder).join("ca.pem");
            fs::copy(ca.file(), &file)?;
            writeln!(stdout, "SSL_CERT_FILE={}", file.display())?;
            SampleApi::start_tls(ca.server("127.0.0.1"))
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
