//! Client certificates: to the API with a key, and as the identity itself.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::openai::{OpenAi, access_token, bearers, identity};
use crate::support::program::{KEY, failure, program, result, run};
use crate::support::proxy::Proxy;
use crate::support::sample_api::{SampleApi, answering, job, response};

const CERTIFICATE: &str = "OPENAI_MTLS_CLIENT_CERT_FILE";
const PRIVATE_KEY: &str = "OPENAI_MTLS_CLIENT_KEY_FILE";

/// Files of a client.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Files(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// A certificate that the servers accept, and its key.
    fn pair(&self, openai: &OpenAi) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        (self.write("cert.pem", openai.clients.client(&key, true)), self.write("key.pem", key.serialize_pem()))
    }
}

fn with(mut command: Command, certificate: &Path, key: &Path) -> Command {
    command.env(CERTIFICATE, certificate).env(PRIVATE_KEY, key).args(["ftjob-abc123", "timeout=20s"]);
    command
}

/// An RSA key that was made for this test and is used nowhere else, in PKCS#8: with ring, rcgen makes none.
const RSA: &[u8] = include_bytes!("../support/rsa_key.der");

/// What is in the SEC 1 or PKCS#1 key of a key in PKCS#8, which is its last element.
fn inner_key(key: &KeyPair, label: &str) -> String {
    let der = key.serialize_der();
    // The lengths of what stands before it: version, algorithm, and the header of the octet string.
    let start =
        (0..der.len()).find(|at| der[*at] == 0x04 && der[at + 1..].starts_with(&header_after(&der, *at))).unwrap();
    let inner = &der[start + 1 + header_after(&der, start).len()..];
    pem(label, inner)
}

/// The length bytes of an element whose contents go to the end; empty if they do not.
fn header_after(der: &[u8], at: usize) -> Vec<u8> {
    let rest = der.len() - at;
    for (header, length) in [(2, rest - 2), (3, rest - 3), (4, rest.saturating_sub(4))] {
        let bytes = match (header, length) {
            (2, 0..0x80) => vec![length as u8],
            (3, 0x80..0x100) => vec![0x81, length as u8],
            (4, 0x100..) => vec![0x82, (length >> 8) as u8, length as u8],
            _ => continue,
        };
        if der[at + 1..].starts_with(&bytes) {
            return bytes;
        }
    }
    vec![0xff; 8]
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine;

    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[test]
fn certificates_and_keys_of_all_usual_forms_are_taken() {
    let openai = OpenAi::start();
    let p256 = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let ed25519 = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let rsa = KeyPair::try_from(RSA).unwrap();
    let parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    let attributes = "Bag Attributes\n    friendlyName: mine\nKey Attributes: <No Attributes>\nsubject=CN = a\n";
    let crlf = |text: String| text.replace('\n', "\r\n");
    for (key, text) in [
        (&p256, p256.serialize_pem()),
        (&p256, format!("{attributes}{}", p256.serialize_pem())),
        (&p256, format!("\u{feff}{}", crlf(p256.serialize_pem()))),
        (&p256, format!("{parameters}{}", inner_key(&p256, "EC PRIVATE KEY"))),
        (&p384, inner_key(&p384, "EC PRIVATE KEY")),
        (&p384, p384.serialize_pem()),
        (&ed25519, ed25519.serialize_pem()),
        (&rsa, rsa.serialize_pem()),
        (&rsa, inner_key(&rsa, "RSA PRIVATE KEY")),
    ] {
        for has_intermediate in [true, false] {
            let files = Files::new();
            let chain = openai.clients.client(key, has_intermediate);
            let certificate = files.write("cert.pem", format!("{attributes}{chain}"));
            let key = files.write("key.pem", &text);
            let mut command = with(openai.program(), &certificate, &key);
            assert_eq!(result(command.env("OPENAI_API_KEY", KEY))["status"], "succeeded");
            // One file may hold both.
            let both = files.write("both.pem", format!("{text}{chain}"));
            let mut command = with(openai.program(), &both, &both);
            assert_eq!(result(command.env("OPENAI_API_KEY", KEY))["status"], "succeeded");
        }
    }
    assert!(openai.mtls_api.requests().iter().all(|request| request.certificates > 0));
    assert_eq!(openai.api.connections(), 0);
}

#[test]
fn files_that_cannot_be_used_are_named_and_not_quoted() {
    let openai = OpenAi::start();
    let files = Files::new();
    let (certificate, key) = files.pair(&openai);
    let text = fs::read_to_string(&key).unwrap();
    let secret_line = text.lines().nth(1).unwrap();
    let encrypted = text.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let old = pem("RSA PRIVATE KEY", b"x").replacen('\n', "\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n", 1);
    let other = KeyPair::generate().unwrap().serialize_pem();
    let p521 = pem("PRIVATE KEY", b"\x30\x03\x02\x01\x00");
    let broken = fs::read_to_string(&certificate).unwrap().replacen("MII", "!!!", 1);
    let leaf_last: String = {
        let text = fs::read_to_string(&certificate).unwrap();
        let (first, second) = text.split_once("-----END CERTIFICATE-----").unwrap();
        format!("{second}{first}-----END CERTIFICATE-----\n").trim_start().to_owned()
    };
    let missing = files.0.path().join("missing");
    let write = |name: &str, text: &str| files.write(name, text);
    let (is_certificate, is_key) = (true, false);
    for (which, path, expected) in [
        (is_certificate, missing.clone(), "it could not be read: "),
        (is_certificate, files.0.path().to_owned(), "it could not be read: "),
        (is_certificate, write("empty", ""), "it is empty"),
        (is_certificate, write("blank", " \n"), "it is empty"),
        (is_certificate, write("text", "no certificate"), "it has no certificate in PEM format"),
        (
            is_certificate,
            key.clone(),
            "it has a private key and no certificate: that file belongs into OPENAI_MTLS_CLIENT_KEY_FILE",
        ),
        (is_certificate, write("broken", &broken), "one of its blocks is not valid PEM"),
        (
            is_certificate,
            write("der", &pem("CERTIFICATE", b"\x30\x00")),
            "its first certificate is malformed, or of X.509 version 1",
        ),
        (is_key, missing, "it could not be read: "),
        (is_key, files.0.path().to_owned(), "it could not be read: "),
        (is_key, write("empty", ""), "it is empty"),
        (is_key, write("text", "no key"), "it has no private key in PEM format"),
        (
            is_key,
            certificate.clone(),
            "it has a certificate and no private key: that file belongs into OPENAI_MTLS_CLIENT_CERT_FILE",
        ),
        (is_key, write("encrypted", &encrypted), "its private key is encrypted, and this program asks for no password"),
        (is_key, write("old", &old), "its private key is encrypted, and this program asks for no password"),
        (is_key, write("kind", &p521), "its private key is malformed, or not of a kind that this program supports"),
        (is_key, write("other", &other), "it is not the key of the first certificate in OPENAI_MTLS_CLIENT_CERT_FILE"),
    ] {
        let (cert, key) = if which == is_certificate { (&path, &key) } else { (&certificate, &path) };
        let mut command = with(openai.program(), cert, key);
        let line = failure(2, command.env("OPENAI_API_KEY", KEY));
        let variable = if which == is_certificate { CERTIFICATE } else { PRIVATE_KEY };
        assert!(line.starts_with(&format!("{variable}={}: {expected}", path.display())), "{line}");
        assert!(!line.contains(secret_line), "{line}");
    }
    let leaf_last = write("leaf_last", &leaf_last);
    let mut command = with(openai.program(), &leaf_last, &key);
    assert!(failure(2, command.env("OPENAI_API_KEY", KEY)).contains("it is not the key of the first certificate in"));

    // The content in place of the path, and one of the two alone.
    let mut command = with(openai.program(), &certificate, Path::new(&text));
    let line = failure(2, command.env("OPENAI_API_KEY", KEY));
    assert_eq!(line, "OPENAI_MTLS_CLIENT_KEY_FILE should be the path of a file, not what is in it");
    for (left, missing) in [(CERTIFICATE, PRIVATE_KEY), (PRIVATE_KEY, CERTIFICATE)] {
        let mut command = with(openai.program(), &certificate, &key);
        let line = failure(2, command.env("OPENAI_API_KEY", KEY).env(missing, ""));
        assert_eq!(line, format!("{left} is set, but {missing} is not: set both, or neither"));
    }
    assert_eq!(openai.proxy.heads(), [""; 0]);
}

#[test]
fn a_certificate_needs_https_and_no_https_proxy() {
    let openai = OpenAi::start();
    let files = Files::new();
    let (certificate, key) = files.pair(&openai);
    for (base_url, name) in [("http://127.0.0.1:1/v1", "base_url"), ("http://a.test", "OPENAI_BASE_URL")] {
        let mut command = with(openai.program(), &certificate, &key);
        command.env("OPENAI_API_KEY", KEY).arg("allow_http=true");
        if name == "base_url" {
            command.arg(format!("base_url={base_url}"))
        } else {
            command.env(name, base_url)
        };
        let line = failure(2, &mut command);
        assert!(
            line.starts_with(&format!("{name} is plain http, over which no client certificate can be shown")),
            "{line}"
        );
    }
    let tls = openai.ca.server_asking_for_client_certificates(&["127.0.0.1"], &openai.clients, false);
    let proxy = Proxy::start(&openai.mtls_api, Some(tls), None);
    let https_proxy = format!("https://{}", proxy.address);
    let command = || {
        let mut command = with(openai.program(), &certificate, &key);
        command.env("HTTPS_PROXY", &https_proxy);
        command
    };
    let line = failure(2, command().env("OPENAI_API_KEY", KEY));
    assert!(
        line.starts_with("the proxy in HTTPS_PROXY is reached over https, and would be shown the client certificate")
    );
    let ids = [("OPENAI_IDENTITY_PROVIDER_ID", "a"), ("OPENAI_SERVICE_ACCOUNT_ID", "b")];
    let line = failure(2, command().envs(ids).env("NO_PROXY", "mtls.api.openai.com"));
    assert!(line.contains("or list mtls.auth.openai.com in NO_PROXY"), "{line}");
    assert_eq!(proxy.heads(), [""; 0]);
}

#[test]
fn a_server_that_wants_a_certificate_leads_to_the_variables() {
    let openai = OpenAi::start();
    let mut command = openai.program();
    command.env("OPENAI_API_KEY", KEY).args(["ftjob-abc123", "base_url=https://mtls.api.openai.com/v1"]);
    let line = failure(1, &mut command);
    let expected = "the TLS handshake with mtls.api.openai.com failed: it requires a client certificate; set \
                    OPENAI_MTLS_CLIENT_CERT_FILE and OPENAI_MTLS_CLIENT_KEY_FILE";
    assert!(line.ends_with(expected), "{line}");

    // Of a CA that the server does not know.
    let files = Files::new();
    let key = KeyPair::generate().unwrap();
    let certificate = files.write("cert.pem", openai.ca.client(&key, false));
    let mut command = with(openai.program(), &certificate, &files.write("key.pem", key.serialize_pem()));
    let line = failure(1, command.env("OPENAI_API_KEY", KEY));
    assert!(line.contains("; check OPENAI_MTLS_CLIENT_CERT_FILE: "), "{line}");
    assert_eq!(openai.mtls_api.connections(), 2);
}

#[test]
fn an_error_code_about_a_certificate_leads_to_the_variables() {
    let openai = OpenAi::start();
    let files = Files::new();
    let (certificate, key) = files.pair(&openai);
    let body = json!({ "error": { "message": "No certificate.", "code": "certificate_required" } }).to_string();
    for (api, mut command, expected) in [
        (&openai.api, openai.program(), "; set OPENAI_MTLS_CLIENT_CERT_FILE and OPENAI_MTLS_CLIENT_KEY_FILE"),
        (&openai.mtls_api, with(openai.program(), &certificate, &key), "; check OPENAI_MTLS_CLIENT_CERT_FILE"),
    ] {
        if api.address == openai.api.address {
            command.arg("ftjob-abc123");
        }
        api.play([answering(response("401 Unauthorized", &[], &body))]);
        let line = failure(1, command.env("OPENAI_API_KEY", KEY));
        assert!(line.ends_with(expected), "{line}");
    }
}

#[test]
fn the_certificate_is_the_identity_if_there_is_no_other() {
    let openai = OpenAi::start();
    let files = Files::new();
    let (certificate, key) = files.pair(&openai);
    let command = |identity: &str| with(openai.program_with_identity(identity), &certificate, &key);
    assert_eq!(result(&mut command(""))["status"], "succeeded");
    let requests = openai.mtls_exchange.requests();
    let body: Value = serde_json::from_str(&requests[0].body).unwrap();
    assert_eq!(
        body,
        json!({
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token_type": "urn:openai:params:oauth:token-type:x509",
            "identity_provider_id": "idp_123",
            "service_account_id": "svc_acct_456",
        })
    );
    assert_eq!(bearers(&openai.mtls_api.requests()), [format!("Bearer {}", access_token(1))]);
    assert_eq!(openai.exchange.connections(), 0);

    // With a JWT, the exchange is the usual one, and does not get to see the certificate.
    result(&mut command(&identity()));
    assert_eq!(openai.mtls_exchange.requests().len(), 1);
    assert_eq!(openai.exchange.requests()[0].certificates, 0);
    assert_eq!(openai.mtls_api.requests().len(), 2);

    openai.mtls_exchange.handle(|_| ("403 Forbidden", json!({ "error": "access_denied", "error_description": "No." })));
    let line = failure(1, &mut command(""));
    let expected = "mtls.auth.openai.com answered HTTP 403: access_denied: No (request ID req_sample2); check \
                    OPENAI_IDENTITY_PROVIDER_ID and OPENAI_SERVICE_ACCOUNT_ID, and the certificate in \
                    OPENAI_MTLS_CLIENT_CERT_FILE";
    assert!(line.ends_with(expected), "{line}");

    // Half of GitHub's variables is a mistake, a certificate beside it or not.
    let line = failure(2, command("").env("ACTIONS_ID_TOKEN_REQUEST_URL", "https://a.test"));
    assert!(
        line.starts_with("ACTIONS_ID_TOKEN_REQUEST_URL is set, but ACTIONS_ID_TOKEN_REQUEST_TOKEN is not"),
        "{line}"
    );
}

#[test]
fn the_private_key_shows_nowhere() {
    let openai = OpenAi::start();
    let files = Files::new();
    let (certificate, key) = files.pair(&openai);
    let text = fs::read_to_string(&key).unwrap();
    for secret in text.lines().skip(1).take(2) {
        let mut echo = job("ftjob-abc123");
        echo["metadata"] = json!({ "a": text.clone() });
        openai.mtls_api.moves("ftjob-abc123", [echo]);
        let output = run(with(openai.program(), &certificate, &key).env("OPENAI_API_KEY", KEY));
        let shown = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.code() == Some(1) && !shown.contains(secret), "{shown}");
    }
}

#[test]
fn a_key_alone_goes_where_it_always_went() {
    let openai = OpenAi::start();
    result(openai.program().env("OPENAI_API_KEY", KEY).arg("ftjob-abc123"));
    assert_eq!((openai.api.requests().len(), openai.api.requests()[0].certificates), (1, 0));
    let api = SampleApi::start();
    let mut command = program();
    result(command.env("OPENAI_API_KEY", KEY).env("OPENAI_BASE_URL", api.url()).arg("ftjob-abc123"));
    assert_eq!(openai.proxy.heads().len(), 1);
}
