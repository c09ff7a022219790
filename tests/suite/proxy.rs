//! The way through a proxy: a real, small one on loopback, which answers CONNECT and then only copies.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use assert_cmd::Command;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::certificates::Authority;
use crate::helper::{KEY, assert_no_key, failure, helper, refusing_address, result};
use crate::sample_api::SampleApi;

/// Leads every connection to one API, whatever name was asked for.
struct Proxy {
    address: SocketAddr,
    /// What each client said up to the end of its CONNECT request.
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start(api: &SampleApi, tls: Option<ServerConfig>, authorization: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy { address: listener.local_addr().unwrap(), heads: Default::default() };
        let (heads, tls, upstream) = (proxy.heads.clone(), tls.map(Arc::new), api.address);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (heads, tls) = (heads.clone(), tls.clone());
                thread::spawn(move || serve(client, upstream, tls, authorization, &heads).ok());
            }
        });
        proxy
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn serve(
    tcp: TcpStream,
    upstream: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    authorization: Option<&str>,
    heads: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let mut client: Box<dyn ReadWrite> = match tls {
        None => Box::new(tcp.try_clone()?),
        Some(config) => {
            Box::new(StreamOwned::new(ServerConnection::new(config).map_err(io::Error::other)?, tcp.try_clone()?))
        }
    };
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        head.extend(byte);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    heads.lock().unwrap().push(head.clone());
    if authorization.is_some_and(|expected| !head.contains(&format!("Proxy-Authorization: {expected}\r\n"))) {
        client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")?;
        return client.flush();
    }
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    client.flush()?;

    let mut server = TcpStream::connect(upstream)?;
    for stream in [&tcp, &server] {
        stream.set_read_timeout(Some(Duration::from_millis(1)))?;
    }
    while copy_some(&mut *client, &mut server)? && copy_some(&mut server, &mut *client)? {}
    Ok(())
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

/// Copies what is there; false at the end.
fn copy_some(from: &mut (impl Read + ?Sized), to: &mut (impl Write + ?Sized)) -> io::Result<bool> {
    let mut buffer = [0; 16 * 1024];
    match from.read(&mut buffer) {
        Ok(0) => Ok(false),
        Ok(count) => {
            to.write_all(&buffer[..count])?;
            to.flush()?;
            Ok(true)
        }
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Asks an API that only a proxy can find, as its name is known to nobody else.
fn helper_behind(proxy: &Proxy, variable: &str, value: &str) -> Command {
    let mut command = helper();
    let value = value.replace("PROXY", &proxy.address.to_string());
    command.env("OPENAI_API_KEY", KEY).env(variable, value).args(["ftjob-abc123", "timeout=10s"]);
    command
}

const HTTPS: &str = "base_url=https://api.test:8443/v1";
const HTTP: &str = "base_url=http://api.test:8080/v1";

#[test]
fn https_goes_through_a_tunnel_that_cannot_see_the_key() {
    let authority = Authority::new();
    let api = SampleApi::start_tls(authority.server("api.test"));
    for (variable, value, credentials) in [
        ("HTTPS_PROXY", "http://PROXY", None),
        ("https_proxy", "PROXY", None),
        ("ALL_PROXY", "http://PROXY/", None),
        ("HTTPS_PROXY", "http://user:p%40ss@PROXY", Some("Basic dXNlcjpwQHNz")),
    ] {
        let proxy = Proxy::start(&api, None, credentials);
        let mut command = helper_behind(&proxy, variable, value);
        assert_eq!(result(command.env("SSL_CERT_FILE", authority.file()).arg(HTTPS))["status"], "succeeded");
        let heads = proxy.heads();
        assert!(heads.len() == 1 && heads[0].starts_with("CONNECT api.test:8443 HTTP/1.1\r\n"), "{heads:?}");
        assert_no_key(heads[0].as_bytes());
    }
}

#[test]
fn a_proxy_may_speak_tls_itself() {
    let authority = Authority::new();
    for (api, base_url) in [(SampleApi::start_tls(authority.server("api.test")), HTTPS), (SampleApi::start(), HTTP)] {
        let proxy = Proxy::start(&api, Some(authority.server("127.0.0.1")), None);
        let mut command = helper_behind(&proxy, "ALL_PROXY", "https://PROXY");
        command.env("SSL_CERT_FILE", authority.file()).args([base_url, "allow_http=true"]);
        assert_eq!(result(&mut command)["status"], "succeeded");
    }
}

#[test]
fn plain_http_through_a_proxy_has_to_be_allowed() {
    let api = SampleApi::start();
    let proxy = Proxy::start(&api, None, None);
    let mut command = helper_behind(&proxy, "HTTP_PROXY", "http://PROXY");
    assert_eq!(result(command.args([HTTP, "allow_http=true"]))["status"], "succeeded");
    assert_eq!(proxy.heads().len(), 1);

    // A proxy takes `localhost` for its own, so what is safe without it is not safe with it.
    let mut command = helper_behind(&proxy, "HTTP_PROXY", "http://PROXY");
    let line = failure(2, command.arg(format!("base_url={}", api.url())));
    assert!(line.contains("would show the API key to the proxy: list the host in NO_PROXY"), "{line}");

    let mut command = helper_behind(&proxy, "HTTP_PROXY", "http://PROXY");
    command.env("NO_PROXY", "127.0.0.1").arg(format!("base_url={}", api.url()));
    assert_eq!(result(&mut command)["status"], "succeeded");
    assert_eq!(proxy.heads().len(), 1);
}

#[test]
fn a_proxy_that_refuses_is_named_without_its_password() {
    let authority = Authority::new();
    let api = SampleApi::start_tls(authority.server("api.test"));
    let proxy = Proxy::start(&api, None, Some("Basic something-else"));
    let mut command = helper_behind(&proxy, "HTTPS_PROXY", "http://user:hidden@PROXY");
    let line = failure(1, command.env("SSL_CERT_FILE", authority.file()).arg(HTTPS));
    let expected =
        format!("the proxy {} refused to connect to api.test:8443: proxy server responded 407", proxy.address);
    assert!(line.contains(&expected) && !line.contains("hidden"), "{line}");
    assert_eq!((proxy.heads().len(), api.connections()), (1, 0));
}

#[test]
fn a_proxy_that_is_not_there_is_named() {
    let api = SampleApi::start();
    let mut proxy = Proxy::start(&api, None, None);
    let (address, _socket) = refusing_address();
    proxy.address = address;
    let line = failure(1, helper_behind(&proxy, "HTTPS_PROXY", "http://PROXY").arg(HTTPS));
    let expected = format!("the proxy {} refused the connection; check the proxy's address", proxy.address);
    assert!(line.contains(&expected), "{line}");
}

#[test]
fn a_value_that_cannot_be_used_is_no_direct_connection() {
    let api = SampleApi::start();
    for value in ["socks5://user:hidden@127.0.0.1:1", "http://user:hidden@127.0.0.1:99999", "http://", "a b"] {
        let mut command = helper();
        command.env("OPENAI_API_KEY", KEY).env("HTTP_PROXY", value).arg("ftjob-abc123");
        let line = failure(2, command.args(["allow_http=true", &format!("base_url={}", api.url())]));
        // On Windows the lower-case name finds it too.
        let (name, rest) = line.split_once(' ').unwrap();
        assert!(
            name.eq_ignore_ascii_case("HTTP_PROXY") && rest.starts_with("is not a proxy that can be used"),
            "{line}"
        );
        assert!(!line.contains("hidden"), "{line}");
    }
    assert_eq!(api.connections(), 0);
}
