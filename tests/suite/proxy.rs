//! Connections through a proxy on loopback.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use assert_cmd::Command;

use crate::support::certificates::CertificateAuthority;
use crate::support::program::{KEY, assert_no_key, failure, program, refusing_address, result};
use crate::support::proxy::Proxy;
use crate::support::sample_api::SampleApi;

/// Reads from an API that only a proxy can find, as its name is known to nobody else.
fn program_behind(proxy: &Proxy, variable: &str, value: &str) -> Command {
    let mut command = program();
    let value = value.replace("PROXY", &proxy.address.to_string());
    command.env("OPENAI_API_KEY", KEY).env(variable, value).arg("ftjob-abc123");
    command
}

const HTTPS: &str = "base_url=https://api.test:8443/v1";
const HTTP: &str = "base_url=http://api.test:8080/v1";

#[test]
fn https_goes_through_a_tunnel_that_cannot_see_the_key() {
    let ca = CertificateAuthority::new();
    let api = SampleApi::start_tls(ca.server("api.test"));
    for (variable, value, credentials) in [
        ("HTTPS_PROXY", "http://PROXY", None),
        ("https_proxy", "PROXY", None),
        ("ALL_PROXY", "http://PROXY/", None),
        ("HTTPS_PROXY", "http://user:p%40ss@PROXY", Some("Basic dXNlcjpwQHNz")),
    ] {
        let proxy = Proxy::start(&api, None, credentials);
        let mut command = program_behind(&proxy, variable, value);
        assert_eq!(result(command.env("SSL_CERT_FILE", ca.file()).arg(HTTPS))["status"], "succeeded");
        let heads = proxy.heads();
        assert!(heads.len() == 1 && heads[0].starts_with("CONNECT api.test:8443 HTTP/1.1\r\n"), "{heads:?}");
        assert_no_key(heads[0].as_bytes());
    }
}

#[test]
fn a_proxy_may_speak_tls_itself() {
    let ca = CertificateAuthority::new();
    for (api, base_url) in [(SampleApi::start_tls(ca.server("api.test")), HTTPS), (SampleApi::start(), HTTP)] {
        let proxy = Proxy::start(&api, Some(ca.server("127.0.0.1")), None);
        let mut command = program_behind(&proxy, "ALL_PROXY", "https://PROXY");
        command.env("SSL_CERT_FILE", ca.file()).args([base_url, "allow_http=true"]);
        assert_eq!(result(&mut command)["status"], "succeeded");
    }
}

#[test]
fn plain_http_through_a_proxy_must_be_allowed() {
    let api = SampleApi::start();
    let proxy = Proxy::start(&api, None, None);
    let mut command = program_behind(&proxy, "HTTP_PROXY", "http://PROXY");
    assert_eq!(result(command.args([HTTP, "allow_http=true"]))["status"], "succeeded");
    assert_eq!(proxy.heads().len(), 1);

    // A proxy takes `localhost` for its own, so what is safe without it is not safe with it.
    let mut command = program_behind(&proxy, "HTTP_PROXY", "http://PROXY");
    let line = failure(2, command.arg(format!("base_url={}", api.url())));
    assert!(line.contains("would show the API key to the proxy in HTTP_PROXY: list the host in NO_PROXY"), "{line}");

    let mut command = program_behind(&proxy, "HTTP_PROXY", "http://PROXY");
    command.env("NO_PROXY", "127.0.0.1").arg(format!("base_url={}", api.url()));
    assert_eq!(result(&mut command)["status"], "succeeded");
    assert_eq!(proxy.heads().len(), 1);
}

/// The message, with names for the addresses.
fn line(proxy: &Proxy, variable: &str, value: &str, ca: &CertificateAuthority) -> String {
    let mut command = program_behind(proxy, variable, value);
    let line = failure(1, command.env("SSL_CERT_FILE", ca.file()).arg(HTTPS));
    let line = line.replace(&proxy.address.to_string(), "PROXY");
    // On Windows the lower-case name finds it too.
    let line = line.replace("https_proxy", "HTTPS_PROXY").replace("all_proxy", "ALL_PROXY");
    line.replace("could not read fine-tuning job ftjob-abc123: ", "")
}

#[test]
fn errors_at_the_proxy_name_it_and_its_variable() {
    let ca = CertificateAuthority::new();
    let api = SampleApi::start_tls(ca.server("api.test"));
    let plain = Proxy::start(&api, None, None);
    let wants_user = Proxy::start(&api, None, Some("Basic something-else"));
    let tls = Proxy::start(&api, Some(ca.server("127.0.0.1")), None);
    let untrusted = Proxy::start(&api, Some(CertificateAuthority::new().server("127.0.0.1")), None);
    let other_name = Proxy::start(&api, Some(ca.server("proxy.test")), None);
    for (proxy, variable, value, expected) in [
        (
            &wants_user,
            "HTTPS_PROXY",
            "http://PROXY",
            "the proxy PROXY answered HTTP 407 to CONNECT api.test:8443; put USER:PASSWORD@ before the \
             host in HTTPS_PROXY (Basic authentication)",
        ),
        (
            &wants_user,
            "ALL_PROXY",
            "http://user:hidden@PROXY",
            "the proxy PROXY answered HTTP 407 to CONNECT api.test:8443; check the user and the \
             password in ALL_PROXY",
        ),
        (
            &plain,
            "HTTPS_PROXY",
            "https://PROXY",
            "the TLS handshake with the proxy PROXY failed: it does not speak TLS; check the scheme and the port in \
             HTTPS_PROXY",
        ),
        (
            &untrusted,
            "HTTPS_PROXY",
            "https://PROXY",
            "the TLS handshake with the proxy PROXY failed: its certificate is self-signed, or signed by a certificate \
             authority (CA) that is not among the root certificates, or it does not send its intermediate certificate; set \
             SSL_CERT_FILE to the CA's PEM file, or have it send its whole chain",
        ),
        (
            &other_name,
            "HTTPS_PROXY",
            "https://PROXY",
            "the TLS handshake with the proxy PROXY failed: its certificate is for proxy.test, not for 127.0.0.1; check \
             HTTPS_PROXY",
        ),
    ] {
        assert_eq!(line(proxy, variable, value, &ca), expected);
    }
    let line_without_tls = line(&tls, "HTTPS_PROXY", "http://PROXY", &ca);
    assert!(line_without_tls.contains("the proxy PROXY"), "{line_without_tls}");
    assert!(line_without_tls.contains("; check the scheme and the port in HTTPS_PROXY"), "{line_without_tls}");

    plain.refuse(["403 Forbidden"]);
    assert_eq!(
        line(&plain, "HTTPS_PROXY", "http://PROXY", &ca),
        "the proxy PROXY answered HTTP 403 to CONNECT api.test:8443; have it allow this host, or list the \
         host in NO_PROXY"
    );
    plain.refuse(["503 Service Unavailable"; 3]);
    assert_eq!(
        line(&plain, "HTTPS_PROXY", "http://PROXY", &ca),
        "the proxy PROXY answered HTTP 503 to CONNECT api.test:8443 (after 3 attempts); check base_url, and that the proxy \
         can reach it"
    );
    assert_eq!(api.connections(), 0);
}

#[test]
fn a_proxys_pause_is_obeyed() {
    let ca = CertificateAuthority::new();
    let api = SampleApi::start_tls(ca.server("api.test"));
    for status in ["408 Request Timeout", "429 Too Many Requests", "503 Service Unavailable"] {
        let proxy = Proxy::start(&api, None, None);
        proxy.refuse([&*format!("{status}\r\nRetry-After: 2").leak()]);
        let start = Instant::now();
        let mut command = program_behind(&proxy, "HTTPS_PROXY", "http://PROXY");
        assert_eq!(result(command.env("SSL_CERT_FILE", ca.file()).arg(HTTPS))["status"], "succeeded");
        assert!(start.elapsed() >= Duration::from_secs(2), "{status}: {:?}", start.elapsed());
        assert_eq!(proxy.heads().len(), 2);

        proxy.refuse([&*format!("{status}\r\nRetry-After: 60").leak()]);
        let line = line(&proxy, "HTTPS_PROXY", "http://PROXY", &ca);
        assert!(line.contains(" (Retry-After is 1m, more than timeout leaves); "), "{line}");
        assert_eq!(proxy.heads().len(), 3);
    }
}

#[test]
fn a_proxy_that_wants_more_than_basic_authentication_is_explained() {
    let ca = CertificateAuthority::new();
    let api = SampleApi::start();
    let proxy = Proxy::start(&api, None, None);
    for (value, headers, expected) in [
        (
            "http://PROXY",
            "Proxy-Authenticate: NTLM",
            ": it wants NTLM, which this program does not know; set HTTPS_PROXY to a local proxy that does, such as px or cntlm",
        ),
        (
            "http://user:hidden@PROXY",
            "Proxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM",
            ": it wants Negotiate or NTLM, which this program does not know; set HTTPS_PROXY to a local proxy that does, such \
             as px or cntlm",
        ),
        (
            "http://PROXY",
            "Proxy-Authenticate: NTLM\r\nProxy-Authenticate: Basic realm=\"proxy\"",
            "; put USER:PASSWORD@ before the host in HTTPS_PROXY (Basic authentication)",
        ),
        (
            "http://user:hidden@PROXY",
            "Proxy-Authenticate: Basic realm=\"proxy\"",
            "; check the user and the password in HTTPS_PROXY",
        ),
    ] {
        proxy.refuse([&*format!("407 Proxy Authentication Required\r\n{headers}").leak()]);
        let line = line(&proxy, "HTTPS_PROXY", value, &ca);
        assert_eq!(line, format!("the proxy PROXY answered HTTP 407 to CONNECT api.test:8443{expected}"));
    }
}

/// What a proxy does after it has answered 200 to CONNECT.
type Tunnel = fn(&mut TcpStream) -> io::Result<()>;

fn proxy_with(tunnel: Tunnel) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut lines = BufReader::new(client.try_clone()?).lines().map_while(Result::ok);
                lines.find(|line| line.is_empty());
                client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
                tunnel(&mut client)
            });
        }
    });
    address
}

#[test]
fn what_goes_wrong_in_the_tunnel_names_the_proxy() {
    let ca = CertificateAuthority::new();
    let page: Tunnel = |client| {
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n<html><title>Log in</title></html>")?;
        client.read(&mut [0; 4096]).map(drop)
    };
    let closes: Tunnel = |client| client.read(&mut [0; 4096]).map(drop);
    let silent: Tunnel = |client| {
        thread::sleep(Duration::from_secs(30));
        client.shutdown(Shutdown::Both)
    };
    let handshake = "the TLS handshake with api.test:8443 through the proxy PROXY";
    for (tunnel, variable, base_url, expected) in [
        (
            page,
            "HTTPS_PROXY",
            HTTPS,
            format!(
                "{handshake} failed: it does not speak TLS; check the scheme and the port in base_url and the proxy in HTTPS_PROXY"
            ),
        ),
        (
            closes,
            "HTTPS_PROXY",
            HTTPS,
            format!(
                "{handshake} failed: the connection was closed; check base_url and the proxy in HTTPS_PROXY, and the network"
            ),
        ),
        (
            silent,
            "ALL_PROXY",
            HTTPS,
            format!(
                "{handshake} did not complete within the timeout of 3s; check base_url and the proxy in ALL_PROXY, and the network"
            ),
        ),
        (
            closes,
            "HTTP_PROXY",
            HTTP,
            "no response from api.test:8080 through the proxy PROXY: the connection was closed; check the \
             scheme and the port in base_url and the proxy in HTTP_PROXY, or try again later"
                .into(),
        ),
    ] {
        let address = proxy_with(tunnel).to_string();
        let mut command = program();
        command.env("OPENAI_API_KEY", KEY).env(variable, format!("http://{address}")).env("SSL_CERT_FILE", ca.file());
        let line = failure(1, command.args(["ftjob-abc123", "timeout=3s", "allow_http=true", base_url]));
        let line = line.replace(&address, "PROXY");
        let line = line.replace(" (after 2 attempts)", "").replace(" (after 3 attempts)", "");
        // On Windows the lower-case name finds it too.
        let line = line.replace(&variable.to_lowercase(), variable);
        assert_eq!(line, format!("could not read fine-tuning job ftjob-abc123: {expected}"));
    }
}

#[test]
fn a_proxy_that_never_completes_its_answer_is_given_up_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            thread::spawn(move || {
                client.write_all(b"HTTP/1.1 200 OK\r\nx-slow: ")?;
                (0..150).try_for_each(|_| {
                    thread::sleep(Duration::from_millis(100));
                    client.write_all(b"x")
                })
            });
        }
    });
    let mut command = program();
    command.env("OPENAI_API_KEY", KEY).env("HTTPS_PROXY", format!("http://{address}"));
    let line = failure(1, command.args(["ftjob-abc123", "timeout=2s", HTTPS]));
    let expected = format!("the proxy {address} did not connect to api.test:8443 within the timeout of 2s");
    assert!(line.contains(&expected), "{line}");
}

#[test]
fn a_proxy_that_is_not_there_is_named() {
    let api = SampleApi::start();
    let mut proxy = Proxy::start(&api, None, None);
    let (address, _socket) = refusing_address();
    proxy.address = address;
    let line = line(&proxy, "HTTPS_PROXY", "http://PROXY", &CertificateAuthority::new());
    assert_eq!(line, "the proxy PROXY refused the connection (after 3 attempts); check HTTPS_PROXY and the network");
}

#[test]
fn a_tls_error_behind_the_proxy_names_the_api() {
    let ca = CertificateAuthority::new();
    let api = SampleApi::start_tls(ca.server("other.test"));
    let proxy = Proxy::start(&api, None, None);
    assert_eq!(
        line(&proxy, "HTTPS_PROXY", "http://PROXY", &ca),
        "the TLS handshake with api.test:8443 failed: its certificate is for other.test, not for api.test; check base_url"
    );
}

#[test]
fn an_invalid_proxy_is_a_usage_error() {
    let api = SampleApi::start();
    for value in [
        "socks5://user:hidden@127.0.0.1:1",
        "http://user:hidden@127.0.0.1:99999",
        "http://",
        "a b",
        "http://alice:2024#hidden@127.0.0.1:1",
        "alice:2024/hidden@127.0.0.1:1",
        "http://alice?hidden:2024@127.0.0.1:1",
        "http://127.0.0.1:1/proxy.pac",
    ] {
        let mut command = program();
        command.env("OPENAI_API_KEY", KEY).env("HTTP_PROXY", value).arg("ftjob-abc123");
        let line = failure(2, command.args(["allow_http=true", &format!("base_url={}", api.url())]));
        // On Windows the lower-case name finds it too.
        let (name, rest) = line.split_once(' ').unwrap();
        assert!(name.eq_ignore_ascii_case("HTTP_PROXY") && rest.starts_with("is not a valid proxy"), "{line}");
        assert!(!line.contains("hidden") && !line.contains("alice") && !line.contains("2024"), "{line}");
    }
    assert_eq!(api.connections(), 0);
}
