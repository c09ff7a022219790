//! What a read costs before the machine's speed matters: connections, handshakes, round trips, records, threads.

use std::time::Duration;

use crate::support::certificates::CertificateAuthority;
use crate::support::program::{program_for, result};
use crate::support::relay::{Relay, Side};
use crate::support::sample_api::SampleApi;

/// A TLS record's type (RFC 8446, section 5.1).
const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

#[test]
fn a_read_is_one_connection_one_handshake_and_one_request() {
    let ca = CertificateAuthority::new();
    let mut tls = ca.server("127.0.0.1");
    // Tickets answer to no request: on a slow machine they could come between the client's last two records.
    tls.send_tls13_tickets = 0;
    let api = SampleApi::start_tls(tls);
    // Far enough away that what the client says without waiting for an answer comes before that answer.
    let relay = Relay::start(api.address, Duration::from_millis(20));
    let mut program = program_for(&api);
    program.env("OPENAI_BASE_URL", format!("https://{}/v1", relay.address)).env("SSL_CERT_FILE", ca.file());
    assert_eq!(result(program.arg("ftjob-abc123"))["status"], "succeeded");
    assert_eq!((api.connections(), api.requests().len()), (1, 1));

    // To connect is the first round trip. The handshake and the request are the other two.
    let mut flights: Vec<Side> = relay.said().iter().map(|(side, _)| *side).collect();
    flights.dedup();
    assert_eq!(flights, [Side::Client, Side::Server, Side::Client, Side::Server]);

    // The first record is ClientHello. TLS 1.2, or a second ClientHello, would send more handshake records in the
    // clear; TLS 1.3 sends Finished as application data, and so is the request, in a record of its own.
    let said = relay.said().into_iter().filter(|(side, _)| *side == Side::Client).flat_map(|(_, bytes)| bytes);
    let records = record_types(&said.collect::<Vec<_>>());
    assert_eq!(records, [HANDSHAKE, CHANGE_CIPHER_SPEC, APPLICATION_DATA, APPLICATION_DATA]);
}

fn record_types(mut bytes: &[u8]) -> Vec<u8> {
    let mut types = Vec::new();
    while let [kind, _, _, high, low, rest @ ..] = bytes {
        types.push(*kind);
        bytes = &rest[u16::from_be_bytes([*high, *low]).into()..];
    }
    assert!(bytes.is_empty(), "the last record is cut short");
    types
}

#[test]
#[cfg(target_os = "linux")] // counts in /proc
fn there_is_at_most_one_thread_beside_main() {
    use std::process::{Command, Stdio};

    use crate::support::program::{KEY, PROGRAM};
    use crate::support::sample_api::{answering_after, job, response};

    let ca = CertificateAuthority::new();
    let api = SampleApi::start_tls(ca.server("127.0.0.1"));
    let answer = response("200 OK", &[], &job("ftjob-abc123").to_string());
    api.play([answering_after(Duration::from_millis(200), answer)]);
    let mut program = Command::new(PROGRAM)
        .env_clear()
        .envs([("OPENAI_API_KEY", KEY), ("OPENAI_BASE_URL", &api.url())])
        .env("SSL_CERT_FILE", ca.file())
        .arg("ftjob-abc123")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut most = 0;
    let status = loop {
        // Until it is waited for, an ended process keeps its place, and its main thread there.
        most = most.max(std::fs::read_dir(format!("/proc/{}/task", program.id())).unwrap().count());
        if let Some(status) = program.try_wait().unwrap() {
            break status;
        }
    };
    assert!(status.success());
    assert!((1..=2).contains(&most), "{most} threads");
}
