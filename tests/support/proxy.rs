//! A small proxy on loopback: it answers CONNECT and then copies.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::sample_api::SampleApi;

/// Leads connections to servers of the test. Runs until the process ends.
pub struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    tls: Option<Arc<ServerConfig>>,
    authorization: Option<&'static str>,
    /// What each client sent up to the end of its CONNECT request.
    heads: Mutex<Vec<String>>,
    refusals: Mutex<VecDeque<&'static str>>,
}

impl Proxy {
    /// Leads every connection to one API, whatever host it is for.
    pub fn start(api: &SampleApi, tls: Option<ServerConfig>, authorization: Option<&'static str>) -> Self {
        Self::leading(&[("", api.address)], tls, authorization)
    }

    /// Leads the connections for each host elsewhere; the name of a host begins as given.
    pub fn leading(
        hosts: &[(&'static str, SocketAddr)],
        tls: Option<ServerConfig>,
        authorization: Option<&'static str>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = Arc::new(Shared { tls: tls.map(Arc::new), authorization, ..Default::default() });
        let proxy = Proxy { address: listener.local_addr().unwrap(), shared: shared.clone() };
        let hosts = hosts.to_owned();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (shared, hosts) = (shared.clone(), hosts.clone());
                thread::spawn(move || shared.serve(client, &hosts).ok());
            }
        });
        proxy
    }

    pub fn heads(&self) -> Vec<String> {
        self.shared.heads.lock().unwrap().clone()
    }

    /// The next CONNECT requests get these statuses, such as `503 Service Unavailable`.
    pub fn refuse(&self, statuses: impl IntoIterator<Item = &'static str>) {
        self.shared.refusals.lock().unwrap().extend(statuses);
    }
}

impl Shared {
    fn serve(&self, tcp: TcpStream, hosts: &[(&str, SocketAddr)]) -> io::Result<()> {
        let mut client: Box<dyn ReadWrite> = match &self.tls {
            None => Box::new(tcp.try_clone()?),
            Some(config) => {
                let tls = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
                Box::new(StreamOwned::new(tls, tcp.try_clone()?))
            }
        };
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte)?;
            if byte == [0x16] {
                // A TLS handshake, where HTTP was to come.
                client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")?;
                return client.flush();
            }
            head.extend(byte);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        self.heads.lock().unwrap().push(head.clone());
        let is_authorized = |expected| head.contains(&format!("Proxy-Authorization: {expected}\r\n"));
        let refusal = match self.authorization {
            Some(expected) if !is_authorized(expected) => Some("407 Proxy Authentication Required"),
            _ => self.refusals.lock().unwrap().pop_front(),
        };
        let host = head.split(' ').nth(1).unwrap_or_default();
        let upstream = hosts.iter().find(|(name, _)| host.starts_with(name)).map(|(_, address)| *address);
        let refusal = refusal.or(upstream.is_none().then_some("502 Bad Gateway"));
        let answer = refusal.unwrap_or("200 Connection established");
        client.write_all(format!("HTTP/1.1 {answer}\r\n\r\n").as_bytes())?;
        client.flush()?;
        let (None, Some(upstream)) = (refusal, upstream) else {
            return Ok(());
        };
        let mut server = TcpStream::connect(upstream)?;
        for stream in [&tcp, &server] {
            stream.set_read_timeout(Some(Duration::from_millis(1)))?;
        }
        while copy_some(&mut *client, &mut server)? && copy_some(&mut server, &mut *client)? {}
        Ok(())
    }
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
