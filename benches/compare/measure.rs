//! What a command takes: its time by hyperfine, its requests by the sample API.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use std::{env, fs, iter};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::certificates::CertificateAuthority;
use crate::engines::output;
use crate::relay::Relay;
use crate::sample_api::SampleApi;

pub const KEY: &str = "not-a-real-key";
/// Where systems keep all root certificates in one file: Debian, Fedora, the others.
const BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

pub struct Bench {
    /// Where `make bench` installed what is compared.
    pub folder: PathBuf,
    ca: CertificateAuthority,
    /// The system's root certificates and the sample API's.
    pub bundle: PathBuf,
}

/// A name, a command, and what it reads on stdin.
pub type Contender = (&'static str, Command, String);

pub struct Measured {
    pub name: &'static str,
    pub near: Run,
    /// With 50 ms of round trip.
    pub far: Run,
}

/// One run: milliseconds, megabytes, and what the API counted.
pub struct Run {
    pub time: f64,
    pub cpu: f64,
    pub peak: f64,
    /// Requests, connections, TLS handshakes.
    pub counts: [usize; 3],
    pub output: String,
}

impl Bench {
    pub fn new(folder: PathBuf) -> Result<Self> {
        let (bundle, ca) = (folder.join("bundle.pem"), CertificateAuthority::new());
        let roots = BUNDLES.iter().find_map(|file| fs::read_to_string(file).ok()).context("no root certificates")?;
        fs::write(&bundle, roots + &fs::read_to_string(ca.file())?)?;
        Ok(Bench { folder, ca, bundle })
    }

    /// One contender after the other.
    pub fn measure(&self, contenders: Vec<Contender>) -> Result<Vec<Measured>> {
        let measure = |(name, command, input): Contender| {
            eprintln!("{name}");
            Ok(Measured { name, near: self.run(&command, &input, false)?, far: self.run(&command, &input, true)? })
        };
        contenders.into_iter().map(measure).collect()
    }

    /// Has hyperfine run a command, with a sample API of its own. `$URL` in an argument is that API's address.
    pub fn run(&self, command: &Command, input: &str, far: bool) -> Result<Run> {
        let api = SampleApi::start_tls(self.ca.server("127.0.0.1"));
        let address = if far { Relay::start(api.address, Duration::from_millis(50)).address } else { api.address };
        let url = format!("https://{address}/v1");
        let [stdin, stdout, times] = ["stdin", "stdout", "times.json"].map(|name| self.folder.join(name));
        fs::write(&stdin, input)?;
        let words = iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<_> = words.map(|word| format!("{word:?}").replace("$URL", &url)).collect();

        let mut hyperfine = Command::new(self.folder.join("bin/hyperfine"));
        hyperfine.args(["--shell=none", "--style=none", "--warmup=1", "--min-runs=5"]).arg(words.join(" "));
        hyperfine.arg("--input").arg(stdin).arg("--output").arg(&stdout).arg("--export-json").arg(&times);
        hyperfine.current_dir(command.get_current_dir().unwrap_or(&self.folder));
        hyperfine.env_clear().envs(env::vars_os().filter(|(name, _)| name == "PATH" || name == "HOME"));
        hyperfine.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        hyperfine.env("OPENAI_API_KEY", KEY).env("OPENAI_BASE_URL", url).env("SSL_CERT_FILE", &self.bundle);
        output(&mut hyperfine)?;

        let result = serde_json::from_slice::<Value>(&fs::read(times)?)?["results"][0].take();
        let number = |key: &str| result[key].as_f64().with_context(|| format!("hyperfine gives no {key}"));
        let peaks = result["memory_usage_byte"].as_array().context("hyperfine gives no memory_usage_byte")?;
        let runs = peaks.len() + 1; // and the one to warm up
        Ok(Run {
            time: number("median")? * 1e3,
            cpu: (number("user")? + number("system")?) * 1e3,
            peak: peaks.iter().filter_map(Value::as_f64).fold(0.0, f64::max) / 1e6,
            counts: [api.requests().len(), api.connections(), api.handshakes()].map(|all| (all + runs / 2) / runs),
            output: fs::read_to_string(stdout)?,
        })
    }
}
