//! Whom the helper believes: real handshakes, with certificates made for each test.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::thread;

use assert_cmd::Command;
use rcgen::{BasicConstraints, IsCa};

use crate::certificates::{Authority, params, params_between, self_signed};
use crate::helper::{failure, helper_for, result};
use crate::sample_api::SampleApi;

fn helper_trusting(api: &SampleApi, variables: &[(&str, &Path)]) -> Command {
    let mut command = helper_for(api);
    command.envs(variables.iter().copied()).args(["ftjob-abc123", "timeout=10s"]);
    command
}

#[test]
fn an_authority_is_believed_through_each_variable() {
    let (authority, other) = (Authority::new(), Authority::new());
    let api = SampleApi::start_tls(authority.server("127.0.0.1"));
    let two = std::env::join_paths([other.folder(), authority.folder()]).unwrap();
    for variables in [
        &[("SSL_CERT_FILE", &*authority.file())][..],
        &[("SSL_CERT_DIR", authority.folder())],
        &[("SSL_CERT_DIR", Path::new(&two))],
        &[("SSL_CERT_FILE", &*authority.file()), ("SSL_CERT_DIR", other.folder())],
        &[("SSL_CERT_FILE", &*other.file()), ("SSL_CERT_DIR", authority.folder())],
        &[("SSL_CERT_FILE", &*authority.file()), ("SSL_CERT_DIR", Path::new(""))],
    ] {
        assert_eq!(result(&mut helper_trusting(&api, variables))["status"], "succeeded", "{variables:?}");
    }
}

#[test]
fn a_folder_that_was_prepared_for_openssl_is_read_like_openssl() {
    let (authority, other) = (Authority::new(), Authority::new());
    fs::rename(authority.file(), authority.folder().join("0a1b2c3d.0")).unwrap();
    fs::copy(other.file(), authority.folder().join("other.pem")).unwrap();
    let trusted = SampleApi::start_tls(authority.server("127.0.0.1"));
    let untrusted = SampleApi::start_tls(other.server("127.0.0.1"));
    let folder = [("SSL_CERT_DIR", authority.folder())];
    assert_eq!(result(&mut helper_trusting(&trusted, &folder))["status"], "succeeded");
    assert!(failure(1, &mut helper_trusting(&untrusted, &folder)).contains("does not trust"));
}

#[test]
fn what_was_named_is_all_that_counts() {
    let authority = Authority::new();
    let api = SampleApi::start_tls(authority.server("127.0.0.1"));
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("empty"), "").unwrap();
    fs::write(path("text"), "no certificate").unwrap();
    fs::write(path("broken"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    fs::create_dir(path("folder")).unwrap();
    for (variable, name, expected) in [
        ("SSL_CERT_FILE", "missing", "cannot be read: "),
        ("SSL_CERT_FILE", "folder", "cannot be read: "),
        ("SSL_CERT_FILE", "empty", "has no certificate in PEM form"),
        ("SSL_CERT_FILE", "text", "has no certificate in PEM form"),
        ("SSL_CERT_FILE", "broken", "has no certificate in PEM form"),
        ("SSL_CERT_DIR", "missing", "cannot be read: "),
        ("SSL_CERT_DIR", "folder", "has no certificate in PEM form"),
    ] {
        // The other variable is right, and does not make up for it.
        let right = if variable == "SSL_CERT_FILE" { "SSL_CERT_DIR" } else { "SSL_CERT_FILE" };
        let place = if right == "SSL_CERT_FILE" { authority.file() } else { authority.folder().into() };
        let line = failure(2, &mut helper_trusting(&api, &[(variable, &path(name)), (right, &place)]));
        let named = format!("{variable}={}: ", path(name).display());
        assert!(line.starts_with(&named) && line.contains(expected), "{line}");
    }
    assert_eq!(api.connections(), 0);

    // Plain http needs no certificates, so none are looked for.
    let plain = SampleApi::start();
    result(&mut helper_trusting(&plain, &[("SSL_CERT_FILE", &path("missing"))]));
}

#[test]
fn certificates_that_do_not_fit_are_refused_without_another_try() {
    let authority = Authority::new();
    let server = |params| authority.server_with(params, rustls::ALL_VERSIONS);
    let mut own_authority = params("127.0.0.1");
    own_authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let untrusted = "its certificate is signed by itself or by an authority that this machine does not trust; \
                     if it should, name the authority's PEM file in SSL_CERT_FILE";
    for (tls, expected) in [
        (
            server(params_between("127.0.0.1", 2020, 2021)),
            "its certificate has expired; or is this machine's clock wrong?",
        ),
        (
            server(params_between("127.0.0.1", 2990, 2999)),
            "its certificate is not valid yet; or is this machine's clock wrong?",
        ),
        (
            server(params("api.test")),
            "certificate not valid for name \"127.0.0.1\"; certificate is only valid for DnsName(\"api.test\"); check OPENAI_BASE_URL",
        ),
        (Authority::new().server("127.0.0.1"), untrusted),
        (self_signed(params("127.0.0.1")), untrusted),
        (self_signed(own_authority), untrusted),
    ] {
        let api = SampleApi::start_tls(tls);
        let line = failure(1, &mut helper_trusting(&api, &[("SSL_CERT_FILE", &authority.file())]));
        let address = api.address;
        assert_eq!(line, format!("fine-tuning job ftjob-abc123 was not read: no TLS with {address}: {expected}"));
        assert_eq!((api.connections(), api.requests().len()), (1, 0), "{line}");
    }
}

#[test]
fn the_systems_own_authorities_do_not_vouch_for_a_stranger() {
    let api = SampleApi::start_tls(Authority::new().server("127.0.0.1"));
    assert!(failure(1, &mut helper_trusting(&api, &[])).contains("that this machine does not trust"));
}

#[test]
fn tls_1_2_will_do() {
    let authority = Authority::new();
    let tls = authority.server_with(params("127.0.0.1"), &[&rustls::version::TLS12]);
    let api = SampleApi::start_tls(tls);
    assert_eq!(result(&mut helper_trusting(&api, &[("SSL_CERT_FILE", &authority.file())]))["status"], "succeeded");
}

#[test]
fn a_handshake_that_ends_or_stalls_is_tried_again() {
    let authority = Authority::new();
    let aborted = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let addresses = [aborted.local_addr().unwrap(), silent.local_addr().unwrap()];
    thread::spawn(move || aborted.incoming().for_each(drop));
    // The silent one never accepts; the system does that, and then nothing comes.
    for (address, expected) in
        [(addresses[0], "no answer from 127.0.0.1:"), (addresses[1], "no connection to 127.0.0.1:")]
    {
        let mut command = crate::helper::helper();
        command.env("OPENAI_API_KEY", crate::helper::KEY).env("SSL_CERT_FILE", authority.file());
        let line = failure(1, command.args(["ftjob-abc123", "timeout=3s", &format!("base_url=https://{address}")]));
        assert!(line.contains(expected) && line.contains(" attempts)"), "{line}");
    }
    drop(silent);
}

#[test]
fn plain_http_behind_https_is_no_tls() {
    let authority = Authority::new();
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = plain.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = plain.accept().unwrap();
        stream.read(&mut [0; 4096]).and_then(|_| stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")).unwrap();
    });
    let mut command = crate::helper::helper();
    command.env("OPENAI_API_KEY", crate::helper::KEY).env("SSL_CERT_FILE", authority.file());
    let line = failure(1, command.args(["ftjob-abc123", &format!("base_url=https://{address}")]));
    assert!(line.ends_with(&format!("no TLS with {address}: it does not answer in TLS; check base_url")), "{line}");
}
