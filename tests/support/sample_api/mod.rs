//! A sample of OpenAI's fine-tuning API on loopback: real sockets, real TLS where it is asked for, the API's own
//! shapes, and any fault on demand. The demo, the benchmark and every test use this one.

pub mod checkpoints;
pub mod servers;

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use percent_encoding::percent_decode_str;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use socket2::SockRef;

use servers::Server;

/// Runs until the process ends; dropping it only forgets it.
pub struct SampleApi {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    tls: Option<Arc<ServerConfig>>,
    server: Server,
    jobs: BTreeMap<String, Value>,
    /// Newest first.
    list: Vec<Value>,
    connections: AtomicUsize,
    handshakes: AtomicUsize,
    requests: Mutex<Vec<Request>>,
    faults: Mutex<VecDeque<Fault>>,
    moving: Mutex<BTreeMap<String, Moving>>,
    models: Mutex<Option<Value>>,
    behaviour: Mutex<Behaviour>,
    handler: Mutex<Option<Handler>>,
    counts: Mutex<Counts>,
}

/// How the server treats all its clients.
#[derive(Default)]
pub struct Behaviour {
    /// How many connections are accepted before the port is closed; none for any number.
    pub connections: Option<usize>,
    /// How many TLS handshakes are refused, as by a server that is being restarted.
    pub refused_handshakes: usize,
    /// Whether each connection is closed after a response, which does not say so, once the next request comes in.
    pub closes: bool,
    /// How long each response takes.
    pub delay: Duration,
    pub rate_limit: Option<RateLimit>,
    /// The job whose requests are answered with 503 alone.
    pub unavailable: Option<&'static str>,
    /// How often each access token is accepted; empty if any key is.
    pub tokens: BTreeMap<String, usize>,
    /// A 503, a reset and a cut body in turn, for each tenth response; but no request meets more than two.
    pub faults: bool,
}

/// So many requests in each window of time; the others get this status, perhaps with `retry-after-ms`.
#[derive(Clone, Copy)]
pub struct RateLimit {
    pub requests: usize,
    pub window: Duration,
    pub retry_after_ms: Option<u64>,
    pub status: &'static str,
}

/// What the server has counted to behave so.
#[derive(Default)]
struct Counts {
    window: Option<Instant>,
    in_window: usize,
    rejected: usize,
    responses: usize,
    faults: BTreeMap<String, usize>,
}

/// A job that moves on with each poll.
struct Moving {
    polls: VecDeque<Value>,
    events: Vec<Value>,
    /// Those that come with the next polls.
    coming: VecDeque<Vec<String>>,
}

impl Moving {
    fn now(&self) -> &Value {
        self.polls.front().expect("a job")
    }
}

/// Plays instead of an answer, once a request begins to come in; then the connection is closed.
pub type Fault = Box<dyn FnOnce(&mut Connection) -> io::Result<()> + Send>;

/// Answers in place of the API, with a status and a body.
pub type Handler = Box<dyn FnMut(&Request) -> (&'static str, Value) + Send>;

/// A request as it came in. Header names are in lower case.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
    /// How many certificates the client has shown.
    pub certificates: usize,
}

impl SampleApi {
    /// Starts on a free port, in plain http.
    pub fn start() -> Self {
        Self::start_as(Server::OpenAi, None)
    }

    /// Starts on a free port, with TLS.
    pub fn start_tls(tls: ServerConfig) -> Self {
        Self::start_as(Server::OpenAi, Some(Arc::new(tls)))
    }

    pub fn start_as(server: Server, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on loopback");
        let address = listener.local_addr().expect("the listener's address");
        let list = server.jobs().unwrap_or_else(|| (1..=LISTED).rev().map(numbered_job).collect());
        let jobs = server.jobs().unwrap_or_else(jobs).into_iter();
        let jobs = jobs.map(|job| (job["id"].as_str().unwrap().to_owned(), job)).collect();
        let shared = Arc::new(Shared { tls, server, jobs, list, ..Default::default() });
        let api = SampleApi { address, shared: shared.clone() };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                let accepted = shared.connections.fetch_add(1, Ordering::SeqCst) + 1;
                let is_last = shared.behaviour.lock().unwrap().connections == Some(accepted);
                // A client that goes away, or that does not like the certificate, is no concern of the server's.
                thread::spawn(move || shared.serve(stream).ok());
                if is_last {
                    break;
                }
            }
        });
        api
    }

    /// What the program takes as `base_url`.
    pub fn url(&self) -> String {
        let scheme = if self.shared.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{}", self.address, self.shared.server.base_path())
    }

    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Those that were completed, whether in full or by resuming a session.
    pub fn handshakes(&self) -> usize {
        self.shared.handshakes.load(Ordering::SeqCst)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// What was asked for, query strings included.
    pub fn paths(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.path).collect()
    }

    /// From now on `id` is these jobs, one after the other with each poll, and stays the last one.
    pub fn moves(&self, id: &str, polls: impl IntoIterator<Item = Value>) {
        let moving = Moving { polls: polls.into_iter().collect(), events: vec![], coming: VecDeque::new() };
        self.shared.moving.lock().unwrap().insert(id.to_owned(), moving);
    }

    /// What the moving job reports with each of its polls.
    pub fn reports(&self, id: &str, coming: impl IntoIterator<Item = Vec<String>>) {
        let mut moving = self.shared.moving.lock().unwrap();
        moving.get_mut(id).expect("a job that moves").coming.extend(coming);
    }

    /// `GET /models` answers these from now on, instead of the sample models.
    pub fn serves(&self, models: Value) {
        *self.shared.models.lock().unwrap() = Some(models);
    }

    pub fn behave(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock().unwrap() = behaviour;
    }

    /// Changes how the server treats all its clients.
    pub fn change(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.shared.behaviour.lock().unwrap());
    }

    /// From now on this answers in place of the API.
    pub fn handle(&self, handler: impl FnMut(&Request) -> (&'static str, Value) + Send + 'static) {
        *self.shared.handler.lock().unwrap() = Some(Box::new(handler));
    }

    /// How many requests met the rate limit.
    pub fn rejected(&self) -> usize {
        self.shared.counts.lock().unwrap().rejected
    }

    /// The next requests meet these faults, in this order; those after them are answered.
    pub fn play(&self, faults: impl IntoIterator<Item = Fault>) {
        self.shared.faults.lock().unwrap().extend(faults);
    }

    /// Those that no request has met yet do not come any more.
    pub fn forget_faults(&self) {
        self.shared.faults.lock().unwrap().clear();
    }
}

impl Shared {
    fn serve(&self, tcp: TcpStream) -> io::Result<()> {
        tcp.set_nodelay(true)?;
        let mut connection =
            Connection { tcp: tcp.try_clone()?, stream: Box::new(tcp), received: Vec::new(), certificates: 0 };
        if let Some(config) = &self.tls {
            if self.refuses_handshake() {
                // The alert internal_error (RFC 8446, section 6).
                connection.receive()?;
                return connection.write(b"\x15\x03\x03\0\x02\x02\x50");
            }
            let tls = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
            let mut stream = StreamOwned::new(tls, connection.tcp.try_clone()?);
            stream.conn.complete_io(&mut stream.sock)?;
            self.handshakes.fetch_add(1, Ordering::SeqCst);
            connection.certificates = stream.conn.peer_certificates().map_or(0, <[_]>::len);
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
            if let Some(rejection) = self.rejection() {
                connection.write(&rejection)?;
                continue;
            }
            let delay = self.behaviour.lock().unwrap().delay;
            thread::sleep(delay);
            if self.behaviour.lock().unwrap().unavailable.is_some_and(|id| request.path.ends_with(id)) {
                connection.write(&response("503 Service Unavailable", &[], ""))?;
                continue;
            }
            if let Some(fault) = self.fault(&request.path) {
                return match fault {
                    0 => connection.write(&response("503 Service Unavailable", &[], "")),
                    1 => SockRef::from(&connection.tcp).set_linger(Some(Duration::ZERO)),
                    _ => connection.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"),
                };
            }
            let answer = self.answer(&request);
            let number = {
                let mut requests = self.requests.lock().unwrap();
                requests.push(request);
                requests.len()
            };
            let request_id = format!("req_sample{number}");
            let headers: Vec<_> = self.server.request_id().into_iter().map(|name| (name, &*request_id)).collect();
            let body = format!("{}{}", self.server.prefix(), answer.body);
            connection.write(&response(answer.status, &headers, &body))?;
            if self.behaviour.lock().unwrap().closes {
                // Once the next request is on its way, so that it always meets a closed connection.
                return connection.tcp.peek(&mut [0]).map(drop);
            }
        }
    }

    fn refuses_handshake(&self) -> bool {
        let left = &mut self.behaviour.lock().unwrap().refused_handshakes;
        let refuses = *left > 0;
        *left = left.saturating_sub(1);
        refuses
    }

    /// The response to a request that meets the rate limit.
    fn rejection(&self) -> Option<Vec<u8>> {
        let limit = self.behaviour.lock().unwrap().rate_limit?;
        let mut counts = self.counts.lock().unwrap();
        if counts.window.is_none_or(|start| start.elapsed() >= limit.window) {
            (counts.window, counts.in_window) = (Some(Instant::now()), 0);
        }
        counts.in_window += 1;
        if counts.in_window <= limit.requests {
            return None;
        }
        counts.rejected += 1;
        let pause = limit.retry_after_ms.map(|millis| millis.to_string());
        let headers: Vec<_> = pause.iter().map(|pause| ("retry-after-ms", pause.as_str())).collect();
        Some(response(limit.status, &headers, ""))
    }

    /// Which fault the response to this request has, if any.
    fn fault(&self, path: &str) -> Option<usize> {
        if !self.behaviour.lock().unwrap().faults {
            return None;
        }
        let mut counts = self.counts.lock().unwrap();
        counts.responses += 1;
        let number = counts.responses;
        let faults = counts.faults.entry(path.to_owned()).or_default();
        if !number.is_multiple_of(10) || *faults == 2 {
            return None;
        }
        *faults += 1;
        Some(number / 10 % 3)
    }

    fn answer(&self, request: &Request) -> Answer {
        if let Some(handler) = &mut *self.handler.lock().unwrap() {
            let (status, body) = handler(request);
            return Answer::new(status, body);
        }
        let key = request.headers.get("authorization").and_then(|value| value.strip_prefix("Bearer "));
        if key.is_none_or(str::is_empty) {
            return Answer::new("401 Unauthorized", error("You didn't provide an API key.", None, None));
        }
        let tokens = &mut self.behaviour.lock().unwrap().tokens;
        if !tokens.is_empty() {
            let Some(left) = tokens.get_mut(key.unwrap_or_default()).filter(|left| **left > 0) else {
                let echo = format!("Incorrect API key provided: {}.", key.unwrap_or_default());
                return Answer::new("401 Unauthorized", error(&echo, None, Some("invalid_api_key")));
            };
            *left -= 1;
        }
        if let Some((status, body)) = self.server.refusal(&request.headers) {
            return Answer::new(status, body);
        }
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let (path, parameters) = (path.strip_prefix(self.server.base_path()).unwrap_or(path), parameters(query));
        if path == "/fine_tuning/jobs" {
            let moving = self.moving.lock().unwrap();
            let now = |job: &'_ Value| {
                moving.get(job["id"].as_str().unwrap()).map_or(job.clone(), |moving| moving.now().clone())
            };
            let listed: Vec<_> = self.list.iter().map(now).collect();
            let has_metadata = |job: &&Value| {
                let mut metadata = parameters
                    .iter()
                    .filter_map(|(name, value)| Some((name.strip_prefix("metadata[")?.strip_suffix(']')?, value)));
                metadata.all(|(key, value)| job["metadata"][key] == value.as_str())
            };
            return Answer::new("200 OK", page(listed.iter().filter(has_metadata), &parameters));
        }
        if path == "/models" {
            let models = self.models.lock().unwrap().clone().unwrap_or_else(|| self.server.models());
            return Answer::new("200 OK", json!({ "object": "list", "data": models }));
        }
        if let Some(job) = path.strip_prefix("/fine_tuning/jobs/").and_then(|id| id.strip_suffix("/checkpoints")) {
            let checkpoints = checkpoints::checkpoints(job);
            return Answer::new("200 OK", page(checkpoints.iter(), &parameters));
        }
        let Some(id) = path.strip_prefix("/fine_tuning/jobs/") else {
            let message = format!("Unknown request URL: GET {path}.");
            return Answer::new("404 Not Found", error(&message, None, Some("unknown_url")));
        };
        if let Some(moving) = self.moving.lock().unwrap().get_mut(id.trim_end_matches("/events")) {
            if id.ends_with("/events") {
                let page = page(moving.events.iter().rev(), &parameters);
                return Answer::new("200 OK", page);
            }
            for message in moving.coming.pop_front().unwrap_or_default() {
                let number = moving.events.len() + 1;
                moving.events.push(json!({
                    "object": "fine_tuning.job.event", "id": format!("ftevent-{number}"), "level": "info",
                    "created_at": 1721764800 + number, "message": message, "type": "message", "data": {},
                }));
            }
            let job = moving.now().clone();
            if moving.polls.len() > 1 {
                moving.polls.pop_front();
            }
            return Answer::new("200 OK", job);
        }
        let number = id.strip_prefix("ftjob-n").and_then(|number| number.parse().ok());
        match self.jobs.get(id).cloned().or(number.map(numbered_job)) {
            Some(job) => Answer::new("200 OK", job),
            None => Answer::new("404 Not Found", self.server.not_found(id)),
        }
    }
}

struct Answer {
    status: &'static str,
    body: Value,
}

impl Answer {
    fn new(status: &'static str, body: Value) -> Self {
        Answer { status, body }
    }
}

fn parameters(query: &str) -> BTreeMap<String, String> {
    let decoded = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect()
}

/// A page of a list whose newest objects come first, as `after` and `limit` (20 unless given) ask for it.
fn page<'a>(newest_first: impl Iterator<Item = &'a Value>, parameters: &BTreeMap<String, String>) -> Value {
    let limit: usize = parameters.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(20);
    let mut rest = newest_first.peekable();
    if let Some(after) = parameters.get("after") {
        rest.find(|object| object["id"] == after.as_str());
    }
    let data: Vec<&Value> = rest.by_ref().take(limit).collect();
    json!({ "object": "list", "data": data, "has_more": rest.peek().is_some() })
}

/// The sample jobs, one of every shape that the API is known to send.
pub fn jobs() -> Vec<Value> {
    static JOBS: LazyLock<Vec<Value>> =
        LazyLock::new(|| serde_json::from_str(include_str!("jobs.json")).expect("jobs.json"));
    JOBS.clone()
}

pub fn job(id: &str) -> Value {
    jobs().into_iter().find(|job| job["id"] == id).expect("a sample job")
}

/// How many jobs the list has: the numbered ones, the highest number newest.
pub const LISTED: usize = 250;

/// One of any number of jobs. Few of them have succeeded, all of them long ago: of those with the suffix
/// `support`, number 20 is the newest.
pub fn numbered_job(number: usize) -> Value {
    let mut job = job("ftjob-abc123");
    job["id"] = json!(format!("ftjob-n{number}"));
    job["created_at"] = json!(1_700_000_000 + number * 60);
    job["user_provided_suffix"] = json!(if number.is_multiple_of(2) { "support" } else { "tone" });
    job["metadata"] = json!({ "env": if number <= 40 { "prod" } else { "dev" } });
    if number == 20 {
        // Its model is still served.
        (job["model"], job["fine_tuned_model"]) =
            (json!("gpt-4.1-2025-04-14"), json!("ft:gpt-4.1-2025-04-14:my-org:support:DeFgHiJk"));
    }
    if number > 20 {
        job["status"] = json!(if number.is_multiple_of(3) { "failed" } else { "cancelled" });
        job["fine_tuned_model"] = Value::Null;
    }
    job
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

/// Gives this answer to one request, whatever was asked.
pub fn answering(bytes: impl Into<Vec<u8>>) -> Fault {
    let bytes = bytes.into();
    Box::new(move |connection| connection.answer(&bytes))
}

/// The same after a pause.
pub fn answering_after(pause: Duration, bytes: Vec<u8>) -> Fault {
    Box::new(move |connection| {
        connection.read_request()?;
        thread::sleep(pause);
        connection.write(&bytes)
    })
}

/// Never answers, and waits until the client hangs up.
pub fn silent() -> Fault {
    Box::new(|connection| {
        connection.read_request()?;
        connection.read_request().map(drop)
    })
}

/// One client's connection, inside TLS where there is any.
pub struct Connection {
    pub tcp: TcpStream,
    stream: Box<dyn ReadWrite>,
    received: Vec<u8>,
    certificates: usize,
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

impl Connection {
    /// Reads a whole request; none if the client hangs up before that.
    pub fn read_request(&mut self) -> io::Result<Option<Request>> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; 32];
            let mut parsed = httparse::Request::new(&mut headers);
            if let httparse::Status::Complete(length) = parsed.parse(&self.received).map_err(io::Error::other)? {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let mut request = Request {
                    method: parsed.method.unwrap_or_default().to_owned(),
                    path: parsed.path.unwrap_or_default().to_owned(),
                    headers: parsed.headers.iter().map(|h| (h.name.to_lowercase(), text(h.value))).collect(),
                    body: String::new(),
                    certificates: self.certificates,
                };
                let body = request.headers.get("content-length").map_or(0, |length| length.parse().unwrap());
                while self.received.len() < length + body {
                    if self.receive()? == 0 {
                        return Ok(None);
                    }
                }
                request.body = text(&self.received[length..length + body]);
                self.received.drain(..length + body);
                return Ok(Some(request));
            }
            if self.receive()? == 0 {
                return Ok(None);
            }
        }
    }

    /// Reads a request and gives this answer to it, whatever was asked.
    pub fn answer(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.read_request()?;
        self.write(bytes)
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
