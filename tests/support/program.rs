//! Runs the program as Terraform or a shell would, in an environment that the machine's own settings do not reach.

use std::net::SocketAddr;
use std::process::{self, Output};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use assert_cmd::Command;
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use super::sample_api::SampleApi;

/// What takes longer than this hangs, however busy the machine is.
pub const HANG: Duration = Duration::from_secs(180);

/// The only API key in the tests. Nothing that any of them reads may contain it.
pub const KEY: &str = "not-a-real-key-0123456789";

/// The binary under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_openai-fine-tuning-job");

/// Without the variables that would change what the program does, wherever they are set on this machine.
pub fn without_settings(mut command: process::Command) -> process::Command {
    let concerns_us = |name: &String| {
        let name = name.to_ascii_uppercase();
        let prefixes = ["SSL_CERT_", "OPENAI_", "ACTIONS_ID_TOKEN_", "TFC_WORKLOAD_IDENTITY_"];
        name.ends_with("_PROXY") || prefixes.iter().any(|prefix| name.starts_with(prefix))
    };
    for name in env::vars_os().filter_map(|(name, _)| name.into_string().ok()).filter(concerns_us) {
        command.env_remove(name);
    }
    command
}

/// The program without arguments, key or API.
pub fn program() -> Command {
    let mut command = Command::from_std(without_settings(process::Command::new(PROGRAM)));
    command.timeout(HANG);
    command
}

/// The program with the test key, and the sample API's address.
pub fn program_for(api: &SampleApi) -> Command {
    let mut command = program();
    command.env("OPENAI_API_KEY", KEY).env("OPENAI_BASE_URL", api.url());
    command
}

/// Runs it and checks that the key is nowhere in what it says.
pub fn run(command: &mut Command) -> Output {
    let output = command.output().expect("the program starts");
    assert_no_key(&output.stdout);
    assert_no_key(&output.stderr);
    output
}

pub fn assert_no_key(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    assert!(!text.contains(KEY), "the key shows in: {text}");
}

/// Runs it, expects success and silence on stderr, and returns the result.
pub fn result(command: &mut Command) -> Value {
    let output = run(command);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &*stderr), (Some(0), ""));
    serde_json::from_slice(&output.stdout).expect("a JSON result")
}

/// Runs it, expects this exit code and nothing on stdout, and returns the one line on stderr.
pub fn failure(exit_code: i32, command: &mut Command) -> String {
    let output = run(command);
    let stderr = String::from_utf8(output.stderr).expect("UTF-8 on stderr");
    assert_eq!(output.status.code(), Some(exit_code), "{stderr}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{stderr}");
    let line = stderr.strip_suffix('\n').expect("a whole line");
    assert!(!line.is_empty() && line.chars().count() <= 1001 && !line.contains(char::is_control), "{line:?}");
    assert_plain_words(line);
    line.to_owned()
}

/// Checks that a message has no debug text such as `Other(OtherError(…))`, and no names and addresses of libraries.
fn assert_plain_words(line: &str) {
    // Terraform's function, as a configuration has it.
    let line = &line.replace("compact()", "");
    let is_debug_text = line.as_bytes().windows(2).any(|pair| pair[0].is_ascii_alphanumeric() && pair[1] == b'(');
    assert!(!is_debug_text, "{line}");
    for name in ["rustls", "webpki", "ureq", "serde", "docs.rs", "::", "Error {", "io error", "os error -"] {
        assert!(!line.contains(name), "{name:?} is in {line}");
    }
}

/// A file of the repository.
pub fn text(file: &str) -> String {
    fs::read_to_string(format!("{}/{file}", env!("CARGO_MANIFEST_DIR")))
        .unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Waits until the condition holds, and fails if it never does.
pub fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < HANG, "waited too long until {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// An address that refuses connections for as long as the socket is there: it is bound, but nobody listens.
pub fn refusing_address() -> (SocketAddr, Socket) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    (socket.local_addr().unwrap().as_socket().unwrap(), socket)
}
