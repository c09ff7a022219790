//! Which certificates are accepted, in real handshakes, with certificates made for each test.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::thread;

use assert_cmd::Command;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair,
    NameConstraints,
};
use tempfile::NamedTempFile;

use crate::support::certificates::{
    CertificateAuthority, params, params_between, self_signed, signed_with_sha_224, version_1,
};
use crate::support::program::{KEY, failure, program, program_for, result};
use crate::support::sample_api::{Fault, SampleApi};

fn program_with_roots(api: &SampleApi, variables: &[(&str, &Path)]) -> Command {
    let mut command = program_for(api);
    command.envs(variables.iter().copied()).arg("ftjob-abc123");
    command
}

#[test]
fn a_ca_can_be_named_in_each_variable() {
    let (ca, other) = (CertificateAuthority::new(), CertificateAuthority::new());
    let api = SampleApi::start_tls(ca.server("127.0.0.1"));
    let two = std::env::join_paths([other.folder(), ca.folder()]).unwrap();
    for variables in [
        &[("SSL_CERT_FILE", &*ca.file())][..],
        &[("SSL_CERT_DIR", ca.folder())],
        &[("SSL_CERT_DIR", Path::new(&two))],
        &[("SSL_CERT_FILE", &*ca.file()), ("SSL_CERT_DIR", other.folder())],
        &[("SSL_CERT_FILE", &*other.file()), ("SSL_CERT_DIR", ca.folder())],
        &[("SSL_CERT_FILE", &*ca.file()), ("SSL_CERT_DIR", Path::new(""))],
    ] {
        assert_eq!(result(&mut program_with_roots(&api, variables))["status"], "succeeded", "{variables:?}");
    }
}

#[test]
fn a_folder_that_was_prepared_for_openssl_is_read_as_openssl_does() {
    let (ca, other) = (CertificateAuthority::new(), CertificateAuthority::new());
    fs::rename(ca.file(), ca.folder().join("0a1b2c3d.0")).unwrap();
    fs::copy(other.file(), ca.folder().join("other.pem")).unwrap();
    let trusted = SampleApi::start_tls(ca.server("127.0.0.1"));
    let untrusted = SampleApi::start_tls(other.server("127.0.0.1"));
    let folder = [("SSL_CERT_DIR", ca.folder())];
    assert_eq!(result(&mut program_with_roots(&trusted, &folder))["status"], "succeeded");
    assert!(failure(1, &mut program_with_roots(&untrusted, &folder)).contains("not among the root certificates"));
}

#[test]
fn only_the_named_certificates_count() {
    let ca = CertificateAuthority::new();
    let api = SampleApi::start_tls(ca.server("127.0.0.1"));
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("empty"), "").unwrap();
    fs::write(path("text"), "no certificate").unwrap();
    fs::write(path("broken"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    fs::create_dir(path("folder")).unwrap();
    for (variable, name, expected) in [
        ("SSL_CERT_FILE", "missing", "it could not be read: "),
        ("SSL_CERT_FILE", "folder", "it could not be read: "),
        ("SSL_CERT_FILE", "empty", "it has no certificate in PEM format"),
        ("SSL_CERT_FILE", "text", "it has no certificate in PEM format"),
        ("SSL_CERT_FILE", "broken", "it has no certificate in PEM format"),
        ("SSL_CERT_DIR", "missing", "it could not be read: "),
        ("SSL_CERT_DIR", "folder", "it has no certificate in PEM format"),
    ] {
        // The other variable is right, and does not make up for it.
        let right = if variable == "SSL_CERT_FILE" { "SSL_CERT_DIR" } else { "SSL_CERT_FILE" };
        let place = if right == "SSL_CERT_FILE" { ca.file() } else { ca.folder().into() };
        let line = failure(2, &mut program_with_roots(&api, &[(variable, &path(name)), (right, &place)]));
        let named = format!("{variable}={}: ", path(name).display());
        assert!(line.starts_with(&named) && line.contains(expected), "{line}");
    }
    assert_eq!(api.connections(), 0);

    // Plain http needs no certificates, so none are looked for.
    let plain = SampleApi::start();
    result(&mut program_with_roots(&plain, &[("SSL_CERT_FILE", &path("missing"))]));
}

const UNTRUSTED: &str = "its certificate is self-signed, or signed by a certificate authority (CA) that is not among the \
    root certificates, or it does not send its intermediate certificate; set SSL_CERT_FILE to the CA's PEM file, or have it \
    send its whole chain";
const BAD_SIGNATURE: &str = "the signature of its certificate cannot be verified; if the CA was re-created under the same \
    name, set SSL_CERT_FILE to its new PEM file; if an RSA key has fewer than 2048 bits, have it replaced";
const CA_AS_SERVER: &str = "its certificate is that of a CA (CA:TRUE), which this program does not accept for a server; have \
    it reissued with basicConstraints=CA:FALSE, and set SSL_CERT_FILE to it or to the CA that signed it";

#[test]
fn invalid_certificates_are_refused_without_a_retry() {
    let named = |name: &str, key| CertificateAuthority::named(name, key, |_| ());
    let key = || KeyPair::generate().unwrap();
    let ca = named("CA", key());
    let server = |params| ca.server_with(params, rustls::ALL_VERSIONS);
    let with = |change: fn(&mut CertificateParams)| {
        let mut params = params("127.0.0.1");
        change(&mut params);
        params
    };
    let constrained = CertificateAuthority::named("Constrained", key(), |params| {
        let permitted_subtrees = vec![
            GeneralSubtree::DnsName("a.test".into()),
            GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([10, 0, 0, 0], 8)),
        ];
        params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: vec![] });
    });
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let (ca_as_server, ca_pem) = self_signed(with(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)));
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("server.pem");
    fs::write(&ca_file, ca_pem).unwrap();
    for (tls, trusted, expected) in [
        (
            server(params_between("127.0.0.1", 2020, 2021)),
            ca.file(),
            "its certificate, or one in its chain, expired on 2021-01-01; have it renewed, or correct this machine's clock",
        ),
        (
            server(params_between("127.0.0.1", 2990, 2999)),
            ca.file(),
            "its certificate, or one in its chain, is not valid before 2990-01-01; have it renewed, or correct this machine's \
             clock",
        ),
        (
            server(params("api.test")),
            ca.file(),
            "its certificate is for api.test, not for 127.0.0.1; check OPENAI_BASE_URL",
        ),
        (
            server(params("10.1.2.3")),
            ca.file(),
            "its certificate is for 10.1.2.3, not for 127.0.0.1; check OPENAI_BASE_URL",
        ),
        (
            server(with(|params| params.subject_alt_names.clear())),
            ca.file(),
            "its certificate has no subject alternative name (SAN), and its common name does not count; have it reissued \
             with subjectAltName=IP:127.0.0.1",
        ),
        (
            server(with(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth])),
            ca.file(),
            "its certificate is not meant for a server; have it reissued with the extended key usage serverAuth",
        ),
        (
            ca.server_changing(version_1),
            ca.file(),
            "its certificate is of X.509 version 1; have it reissued as version 3 (openssl x509 -req needs -extfile or \
             -copy_extensions for it)",
        ),
        (
            ca.server_changing(signed_with_sha_224),
            ca.file(),
            "its certificate, or that of its CA, is signed with an algorithm that is not accepted, such as SHA-1; have it \
             reissued with SHA-256",
        ),
        (ca.server_changing(|_, _| b"\x30\x00".to_vec()), ca.file(), "its certificate is malformed; have it replaced"),
        (
            constrained.server("127.0.0.1"),
            constrained.file(),
            "its CA may not issue certificates for this name (name constraints); have another CA issue it",
        ),
        (named("CA", key()).server("127.0.0.1"), ca.file(), BAD_SIGNATURE),
        (named("CA", ed25519).server("127.0.0.1"), ca.file(), BAD_SIGNATURE),
        (CertificateAuthority::new().server("127.0.0.1"), ca.file(), UNTRUSTED),
        (ca.server_without_intermediate(), ca.file(), UNTRUSTED),
        (self_signed(params("127.0.0.1")).0, ca.file(), UNTRUSTED),
        (ca_as_server.clone(), ca_file, CA_AS_SERVER),
        (ca_as_server, ca.file(), CA_AS_SERVER),
    ] {
        let api = SampleApi::start_tls(tls);
        let line = failure(1, &mut program_with_roots(&api, &[("SSL_CERT_FILE", &trusted)]));
        let start = format!("could not read fine-tuning job ftjob-abc123: the TLS handshake with {}", api.address);
        assert_eq!(line, format!("{start} failed: {expected}"));
        assert_eq!((api.connections(), api.requests().len()), (1, 0), "{line}");
    }
}

#[test]
fn a_self_signed_certificate_can_be_named_itself() {
    let (tls, pem) = self_signed(params("127.0.0.1"));
    let api = SampleApi::start_tls(tls);
    let file = api_file(&pem);
    assert_eq!(result(&mut program_with_roots(&api, &[("SSL_CERT_FILE", file.path())]))["status"], "succeeded");
}

fn api_file(pem: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(pem.as_bytes()).unwrap();
    file
}

#[test]
fn a_client_certificate_is_asked_for() {
    let ca = CertificateAuthority::new();
    let api = SampleApi::start_tls(ca.server_wanting_a_client_certificate());
    let line = failure(1, &mut program_with_roots(&api, &[("SSL_CERT_FILE", &ca.file())]));
    let expected = "failed: it requires a client certificate; set OPENAI_MTLS_CLIENT_CERT_FILE and \
                    OPENAI_MTLS_CLIENT_KEY_FILE";
    assert!(line.ends_with(expected), "{line}");
    assert_eq!(api.connections(), 1);
}

/// The message when a server answers the first bytes of a handshake with these.
fn line_after(answer: &'static [u8]) -> String {
    let ca = CertificateAuthority::new();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in server.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]).and_then(|_| stream.write_all(answer));
        }
    });
    let mut command = program();
    command.env("OPENAI_API_KEY", KEY).env("SSL_CERT_FILE", ca.file());
    let line = failure(1, command.args(["ftjob-abc123", &format!("base_url=https://{address}")]));
    line.replace(&address.to_string(), "HOST").replace("could not read fine-tuning job ftjob-abc123: ", "")
}

#[test]
fn refused_handshakes_are_explained() {
    let old = "it supports no version or cipher suite of TLS that this program does (after 3 attempts); have it support \
               TLS 1.2 or 1.3 with a modern cipher suite";
    let refused = "it requires another client certificate than it got, or has no cipher suite or kind of certificate in \
                   common with this program (after 3 attempts); set OPENAI_MTLS_CLIENT_CERT_FILE and \
                   OPENAI_MTLS_CLIENT_KEY_FILE if it requires one, else have it work with a modern cipher suite and an \
                   RSA, P-256, P-384 or Ed25519 certificate";
    for (answer, expected) in [
        // Alerts (RFC 8446, section 6): protocol_version, handshake_failure, unrecognized_name, internal_error.
        (b"\x15\x03\x01\0\x02\x02\x46", old),
        (b"\x15\x03\x03\0\x02\x02\x28", refused),
        (b"\x15\x03\x03\0\x02\x02\x70", "it does not serve this host name (after 3 attempts); check base_url"),
        (b"\x15\x03\x03\0\x02\x02\x50", "it ended the handshake with TLS alert 80 (after 3 attempts); try again later"),
    ] {
        assert_eq!(line_after(answer), format!("the TLS handshake with HOST failed: {expected}"));
    }
    assert_eq!(
        line_after(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        "the TLS handshake with HOST failed: it does not speak TLS; check the scheme and the port in base_url"
    );
}

#[test]
fn a_connection_closed_without_a_response_is_explained() {
    let ca = CertificateAuthority::new();
    let api = SampleApi::start_tls(ca.server("127.0.0.1"));
    api.play((0..3).map(|_| -> Fault { Box::new(|connection| connection.read_request().map(drop)) }));
    let line = failure(1, &mut program_with_roots(&api, &[("SSL_CERT_FILE", &ca.file())]));
    let expected = format!(
        "no response from {}: the connection was closed (after 3 attempts); check the scheme and the port in \
        OPENAI_BASE_URL, or try again later",
        api.address
    );
    assert!(line.ends_with(&expected), "{line}");
}

#[test]
fn the_systems_root_certificates_do_not_accept_another_ca() {
    let api = SampleApi::start_tls(CertificateAuthority::new().server("127.0.0.1"));
    assert!(failure(1, &mut program_with_roots(&api, &[])).contains("not among the root certificates"));
}

#[test]
fn tls_1_2_is_accepted() {
    let ca = CertificateAuthority::new();
    let tls = ca.server_with(params("127.0.0.1"), &[&rustls::version::TLS12]);
    let api = SampleApi::start_tls(tls);
    assert_eq!(result(&mut program_with_roots(&api, &[("SSL_CERT_FILE", &ca.file())]))["status"], "succeeded");
}

#[test]
fn a_handshake_that_ends_or_stalls_is_retried() {
    let ca = CertificateAuthority::new();
    let aborted = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let addresses = [aborted.local_addr().unwrap(), silent.local_addr().unwrap()];
    thread::spawn(move || aborted.incoming().for_each(drop));
    // The system accepts for the silent one, and then nothing comes.
    for (address, expected) in
        [(addresses[0], " failed: "), (addresses[1], " did not complete within the timeout of 3s (after ")]
    {
        let mut command = program();
        command.env("OPENAI_API_KEY", KEY).env("SSL_CERT_FILE", ca.file());
        let line = failure(1, command.args(["ftjob-abc123", "timeout=3s", &format!("base_url=https://{address}")]));
        assert!(line.contains(expected) && line.contains(" attempts)"), "{line}");
    }
    silent.set_nonblocking(true).unwrap();
    let attempts = silent.incoming().take_while(Result::is_ok).count();
    assert!(attempts <= 2, "{attempts} attempts");
}
