//! A sample of OpenAI's fine-tuning API on loopback: real sockets, real TLS where it is asked for, the API's own
//! shapes, and any fault on demand. The demo, the benchmark and every test use this one.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

/// Runs until the process ends; dropping it only forgets it.
pub struct SampleApi {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    tls: Option<Arc<ServerConfig>>,
    jobs: BTreeMap<String, Value>,
    connections: AtomicUsize,
    requests: Mutex<Vec<Request>>,
    faults: Mutex<VecDeque<Fault>>,
}

/// Plays instead of an answer, once a request begins to come in; then the connection is closed.
pub type Fault = Box<dyn FnOnce(&mut Connection) -> io::Result<()> + Send>;

/// A request as it came in. Header names are in lower case.
#[derive(Clone, Debug)]
pub struct Request {
    pub path: String,
    pub headers: BTreeMap<String, String>,
}

impl SampleApi {
    /// Starts on a free port, in plain http.
    pub fn start() -> Self {
        Self::start_on("127.0.0.1:0", None)
    }

    /// Starts on a free port, with TLS.
    pub fn start_tls(tls: ServerConfig) -> Self {
        Self::start_on("127.0.0.1:0", Some(Arc::new(tls)))
    }

    pub fn start_on(address: &str, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind(address).expect("a free port on loopback");
        let address = listener.local_addr().expect("the listener's address");
        let jobs = jobs().into_iter().map(|job| (job["id"].as_str().unwrap().to_owned(), job));
        let shared = Arc::new(Shared { tls, jobs: jobs.collect(), ..Default::default() });
        let api = SampleApi { address, shared: shared.clone() };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                shared.connections.fetch_add(1, Ordering::SeqCst);
                // A client that goes away, or that does not like the certificate, is no concern of the server's.
                thread::spawn(move || shared.serve(stream).ok());
            }
        });
        api
    }

    /// What the helper takes as `base_url`.
    pub fn url(&self) -> String {
        let scheme = if self.shared.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}/v1", self.address)
    }

    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// The next requests meet these faults, in this order; those after them are answered.
    pub fn play(&self, faults: impl IntoIterator<Item = Fault>) {
        self.shared.faults.lock().unwrap().extend(faults);
    }
}

impl Shared {
    fn serve(&self, tcp: TcpStream) -> io::Result<()> {
        tcp.set_nodelay(true)?;
        let mut connection = Connection { tcp: tcp.try_clone()?, stream: Box::new(tcp), received: Vec::new() };
        if let Some(config) = &self.tls {
            let tls = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
            let mut stream = StreamOwned::new(tls, connection.tcp.try_clone()?);
            stream.conn.complete_io(&mut stream.sock)?;
            connection.stream = Box::new(stream);
        }
        loop {
            // An idle connection takes no fault that is meant for the next request.
            if connection.receive()? == 0 {
                return Ok(());
            }
            let fault = self.faults.lock().unwrap().pop_front();
            if let Some(fault) = fault {
                return fault(&mut connection);
            }
            let Some(request) = connection.read_request()? else {
                return Ok(());
            };
            let (status, body) = self.answer(&request);
            let number = {
                let mut requests = self.requests.lock().unwrap();
                requests.push(request);
                requests.len()
            };
            connection.write(&response(
                status,
                &[("x-request-id", &format!("req_sample{number}"))],
                &body.to_string(),
            ))?;
        }
    }

    fn answer(&self, request: &Request) -> (&'static str, Value) {
        let key = request.headers.get("authorization").and_then(|value| value.strip_prefix("Bearer "));
        if key.is_none_or(str::is_empty) {
            return ("401 Unauthorized", error("You didn't provide an API key.", None, None));
        }
        let Some(id) = request.path.strip_prefix("/v1/fine_tuning/jobs/") else {
            let message = format!("Unknown request URL: GET {}.", request.path);
            return ("404 Not Found", error(&message, None, Some("unknown_url")));
        };
        match self.jobs.get(id) {
            Some(job) => ("200 OK", job.clone()),
            None => {
                let message = format!("Could not find fine tune: {id}");
                ("404 Not Found", error(&message, Some("fine_tune_id"), Some("fine_tune_not_found")))
            }
        }
    }
}

/// The sample jobs, one of every shape that the API is known to send.
pub fn jobs() -> Vec<Value> {
    serde_json::from_str(include_str!("jobs.json")).expect("jobs.json")
}

pub fn job(id: &str) -> Value {
    jobs().into_iter().find(|job| job["id"] == id).expect("a sample job")
}

/// An error body as the API sends it.
pub fn error(message: &str, param: Option<&str>, code: Option<&str>) -> Value {
    json!({ "error": { "message": message, "type": "invalid_request_error", "param": param, "code": code } })
}

/// A whole response, for `Connection::write`.
pub fn response(status: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    format!("{text}\r\n{body}").into_bytes()
}

/// One client's connection, inside TLS where there is any.
pub struct Connection {
    pub tcp: TcpStream,
    stream: Box<dyn ReadWrite>,
    received: Vec<u8>,
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

impl Connection {
    /// Reads up to the end of the headers; none if the client hangs up before that.
    pub fn read_request(&mut self) -> io::Result<Option<Request>> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; 32];
            let mut parsed = httparse::Request::new(&mut headers);
            if let httparse::Status::Complete(length) = parsed.parse(&self.received).map_err(io::Error::other)? {
                let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                let request = Request {
                    path: parsed.path.unwrap_or_default().to_owned(),
                    headers: parsed.headers.iter().map(|h| (h.name.to_lowercase(), text(h.value))).collect(),
                };
                self.received.drain(..length);
                return Ok(Some(request));
            }
            if self.receive()? == 0 {
                return Ok(None);
            }
        }
    }

    fn receive(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 4096];
        let count = self.stream.read(&mut buffer)?;
        self.received.extend(&buffer[..count]);
        Ok(count)
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }
}
