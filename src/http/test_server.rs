//! A server for unit tests: it answers each request by its path, over kept-alive connections on loopback.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::api::Api;
use super::deadline::Deadline;
use crate::endpoint::{Endpoint, Overrides};

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
    endpoint_at(&format!("http://{host}/v1"))
}

pub fn endpoint_at(base_url: &str) -> Endpoint {
    let overrides = Overrides { base_url: Some(base_url), allow_http: true, ..Overrides::default() };
    Endpoint::new(overrides, &|name| (name == "OPENAI_API_KEY").then(|| "not-a-real-key".into())).unwrap()
}

/// Calls the API, which gives this answer to every request.
pub fn with_api<T>(answer: Value, call: impl Fn(&Api, &Deadline) -> T) -> T {
    let address = start(move |_| answer.clone());
    let endpoint = endpoint(&address.to_string());
    let timeout = Duration::from_secs(60);
    call(&Api::new(&endpoint, None, timeout), &Deadline::timeout(timeout))
}
