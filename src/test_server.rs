//! A server for unit tests: it answers each request by its path, over kept-alive connections on loopback.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use serde_json::Value;

use crate::base_url::BaseUrl;
use crate::endpoint::{DEFAULT_KEY_VARIABLE, Endpoint};
use crate::secret::{Secret, Secrets};

/// Starts a server that answers with `answer` of the path and query, and returns its address.
pub fn start(answer: impl Fn(&str) -> Value + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                while let Some(request) = lines.next() {
                    lines.by_ref().find(|line| line.is_empty());
                    let body = answer(request.split(' ').nth(1).unwrap()).to_string();
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                    (&stream).write_all((head + &body).as_bytes()).unwrap();
                }
            });
        }
    });
    address
}

/// An endpoint in plain http at this host.
pub fn endpoint(host: &str) -> Endpoint {
    Endpoint {
        base_url: BaseUrl::parse("base_url", &format!("http://{host}/v1"), true).unwrap(),
        key: Secret::new("not-a-real-key".into()),
        key_variable: DEFAULT_KEY_VARIABLE.into(),
        organization: None,
        project: None,
        custom_headers: Vec::new(),
        proxy: None,
        roots: None,
        secrets: Secrets::default(),
    }
}
