//! Asks the API, and turns whatever comes back, or does not, into a job or into one clear sentence.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::Result;
use humantime::format_duration;
use memchr::memmem;
use serde_json::Value;
use ureq::config::Config;
use ureq::http::{HeaderMap, Response, StatusCode, Uri};
use ureq::tls::TlsConfig;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Body, Error, ProxyProtocol, Timeout};

use crate::job;
use crate::message;
use crate::query::is_id;
use crate::retry::{self, ATTEMPTS, Again, Failed, Pass};
use crate::settings::{self, Settings};
use crate::trust;

/// The longest answer that is read, in bytes.
const MAX_BODY: u64 = 10 * 1024 * 1024;
/// How long connecting may take, TLS included. With a second address, ureq leaves a third of it for that.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// ureq zeroes its buffers, so larger ones cost time in every run.
const INPUT_BUFFER: usize = 32 * 1024;
const OUTPUT_BUFFER: usize = 16 * 1024;
/// Longer than any pause between two requests, so that one connection serves them all if the server lets it.
const MAX_IDLE: Duration = Duration::from_secs(60);
/// Less than the input buffer: headers that fill it look like a connection that was closed.
const MAX_HEADERS: usize = 16 * 1024;
/// serde_json's own mark for a number whose digits are kept: an object with this key would be read as a number.
const NUMBER_MARK: &str = "$serde_json::private::Number";

/// How many connections are used at once. More make a hundred jobs no faster.
pub const CONNECTIONS: usize = 16;
/// The API's largest page, of jobs or of events.
pub const PAGE: usize = 100;
/// How many pages of events are read at most, to show people what they missed.
const MAX_EVENT_PAGES: usize = 10;

/// A job as it was at one moment.
pub struct Look {
    pub job: Value,
    /// How long the API wants to be left alone.
    pub poll_after: Option<Duration>,
}

/// A part of the list of jobs.
pub struct Page {
    pub jobs: Vec<Value>,
    pub has_more: bool,
}

/// Something that a job reported.
pub struct Event {
    pub id: String,
    /// Time, level and message, fit for a terminal.
    pub line: String,
}

pub struct Api<'a> {
    agent: Agent,
    addresses: Addresses,
    settings: &'a Settings,
}

/// What the name service said, until a connection fails.
type Addresses = Arc<Mutex<Option<ResolvedSocketAddrs>>>;

/// Asks the name service once, where ureq would for each request. One process only ever looks up one name, the API's
/// or the proxy's.
#[derive(Debug)]
struct ResolveOnce<R> {
    resolver: R,
    found: Addresses,
}

impl<R: Resolver> Resolver for ResolveOnce<R> {
    fn resolve(&self, url: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        if let Some(found) = &*lock(&self.found) {
            return Ok(found.clone());
        }
        let found = self.resolver.resolve(url, config, timeout)?;
        *lock(&self.found) = Some(found.clone());
        Ok(found)
    }
}

fn lock(addresses: &Addresses) -> MutexGuard<'_, Option<ResolvedSocketAddrs>> {
    addresses.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Api<'a> {
    /// Makes no request yet.
    ///
    /// # Errors
    /// Certificates that the environment names and that cannot be used.
    pub fn new(settings: &'a Settings) -> Result<Self> {
        let proxy = settings.proxy.as_ref();
        let needs_tls = settings::is_https(&settings.base_url)
            || proxy.is_some_and(|proxy| proxy.protocol() == ProxyProtocol::Https);
        let mut tls = TlsConfig::builder();
        if needs_tls {
            tls = tls.root_certs(trust::root_certs()?);
        }
        let limits = Limits::of(settings.timeout / ATTEMPTS);
        let config = Agent::config_builder()
            .timeout_global(Some(limits.budget))
            .timeout_resolve(Some(limits.connect))
            .timeout_connect(Some(limits.connect))
            .tls_config(tls.build())
            .proxy(settings.proxy.clone())
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            .accept("application/json")
            .input_buffer_size(INPUT_BUFFER)
            .max_response_header_size(MAX_HEADERS)
            .output_buffer_size(OUTPUT_BUFFER)
            .max_idle_age(MAX_IDLE)
            .max_idle_connections(CONNECTIONS)
            .max_idle_connections_per_host(CONNECTIONS)
            .build();
        Ok(Self::with_resolver(settings, config, DefaultResolver::default()))
    }

    fn with_resolver(settings: &'a Settings, config: Config, resolver: impl Resolver) -> Self {
        let addresses = Addresses::default();
        let resolver = ResolveOnce { resolver, found: addresses.clone() };
        Api { agent: Agent::with_parts(config, DefaultConnector::default(), resolver), addresses, settings }
    }

    /// Retrieves a fine-tuning job: `GET /fine_tuning/jobs/{id}` in OpenAI's API reference.
    ///
    /// # Errors
    /// Whatever keeps the job from being had within the pass.
    pub fn job(&self, id: &str, pass: &Pass) -> Result<Look, Failed> {
        pass.run(|budget| {
            let (headers, job) = self.get(&format!("fine_tuning/jobs/{id}"), &[], budget)?;
            // The header by which OpenAI's SDK for Python paces its own polling, `lib/_assistants_runs.py`.
            let poll_after = retry::seconds(&headers, "openai-poll-after-ms", 0.001);
            Ok(Look { job: self.check(job, id)?, poll_after })
        })
    }

    /// Lists fine-tuning jobs, the newest first: `GET /fine_tuning/jobs` in OpenAI's API reference. A page begins behind
    /// the job `after`.
    ///
    /// # Errors
    /// Whatever keeps the page from being had within the pass.
    pub fn jobs(
        &self,
        limit: usize,
        after: Option<&str>,
        metadata: &BTreeMap<String, String>,
        pass: &Pass,
    ) -> Result<Page, Failed> {
        let mut query = vec![("limit".to_owned(), limit.to_string())];
        query.extend(after.map(|after| ("after".to_owned(), after.to_owned())));
        query.extend(metadata.iter().map(|(key, value)| (format!("metadata[{key}]"), value.clone())));
        pass.run(|budget| {
            let (_, mut page) = self.get("fine_tuning/jobs", &query, budget)?;
            let is_job = |job: &Value| job["object"] == "fine_tuning.job" && job["id"].as_str().is_some_and(is_id);
            match page.get_mut("data").map(Value::take) {
                Some(Value::Array(jobs)) if jobs.iter().all(is_job) => {
                    Ok(Page { jobs, has_more: page["has_more"] == true })
                }
                _ => Err(Failed::never(format!(
                    "{} answered with JSON that is not a list of fine-tuning jobs; check base_url",
                    self.host()
                ))),
            }
        })
    }

    /// What the job reported since the event `newest`, oldest first; of one that was not looked at before, only what
    /// fits on a page. `GET /fine_tuning/jobs/{id}/events` in OpenAI's API reference.
    ///
    /// # Errors
    /// A page could not be had at once.
    pub fn events_since(&self, id: &str, newest: Option<&str>) -> Result<Vec<Event>, Failed> {
        let mut query = vec![("limit".to_owned(), PAGE.to_string())];
        let mut events: Vec<Event> = Vec::new();
        for _ in 0..MAX_EVENT_PAGES {
            let (_, page) = self.get(&format!("fine_tuning/jobs/{id}/events"), &query, self.attempt())?;
            let data = page["data"].as_array().into_iter().flatten();
            let unseen = data.map_while(|event| {
                let id = event["id"].as_str().filter(|id| Some(*id) != newest)?;
                Some(Event { id: id.to_owned(), line: self.event_line(event) })
            });
            let seen_before = events.len();
            events.extend(unseen);
            let whole_page = events.len() - seen_before == PAGE;
            if newest.is_none() || !whole_page || page["has_more"] != true {
                break;
            }
            query.truncate(1);
            query.extend(events.last().map(|event| ("after".to_owned(), event.id.clone())));
        }
        events.reverse();
        Ok(events)
    }

    fn event_line(&self, event: &Value) -> String {
        let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(event["created_at"].as_u64().unwrap_or(0)));
        let text = |key: &str| self.quote(event[key].as_str().unwrap_or_default());
        format!("{} {}: {}", time.and_then(job::format_time).unwrap_or_default(), text("level"), text("message"))
    }

    fn get(&self, path: &str, query: &[(String, String)], budget: Duration) -> Result<(HeaderMap, Value), Failed> {
        let base_url = self.settings.base_url.to_string();
        let url = format!("{}/{path}", base_url.trim_end_matches('/'));
        let limits = Limits::of(budget);
        let mut request = self.agent.get(url).query_pairs(query.iter().map(|(key, value)| (&**key, &**value)));
        // The agent's own limits cost nothing; others make ureq look through all certificates again.
        if limits != Limits::of(self.attempt()) {
            request = request
                .config()
                .timeout_global(Some(limits.budget))
                .timeout_resolve(Some(limits.connect))
                .timeout_connect(Some(limits.connect))
                .build();
        }
        request = request.header("Authorization", format!("Bearer {}", self.settings.key.expose()));
        for (name, value) in
            [("OpenAI-Organization", &self.settings.organization), ("OpenAI-Project", &self.settings.project)]
        {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let mut response = request.call().map_err(|error| self.no_answer(&error, "no answer from", limits))?;
        let body = response.body_mut().with_config().limit(MAX_BODY).read_to_vec();
        if response.status() != StatusCode::OK {
            return Err(self.refusal(&response, &body.unwrap_or_default()));
        }
        let body = body.map_err(|error| self.no_answer(&error, "only part of an answer from", limits))?;
        let answer = self.parse(&response, &body)?;
        Ok((mem::take(response.headers_mut()), answer))
    }

    fn parse(&self, response: &Response<Body>, body: &[u8]) -> Result<Value, Failed> {
        let host = self.host();
        let request_id = self.request_id(response);
        let never = |what: String| Failed::never(format!("{host} answered with {what}{request_id}"));

        if memmem::find(body, NUMBER_MARK.as_bytes()).is_some() {
            return Err(never(format!("the name {NUMBER_MARK}, which this program cannot tell from a number")));
        }
        let answer: Value = serde_json::from_slice(body).map_err(|error| {
            let content_type = self.header(response, "content-type").unwrap_or_default();
            if error.is_eof() {
                // A body that ends with its connection looks whole until it is parsed.
                Failed::soon(format!("the answer of {host} was cut short{request_id}"))
            } else if content_type.contains("json") {
                never(format!("JSON that cannot be read: {error}"))
            } else {
                never(format!(
                    "no JSON but {content_type:?}: check base_url, and that no proxy or login page answers instead"
                ))
            }
        })?;
        if self.settings.key.is_in_json(&answer.to_string()) {
            return Err(never("the API key in it, which must not get into Terraform's state".into()));
        }
        Ok(answer)
    }

    /// Better no data than another job's, or what merely looks like a job.
    fn check(&self, answer: Value, id: &str) -> Result<Value, Failed> {
        let wrong = match (answer["object"].as_str(), answer["id"].as_str()) {
            (Some("fine_tuning.job"), Some(answered)) if answered == id => return Ok(answer),
            (Some("fine_tuning.job"), Some(answered)) => format!("another job, {}", self.quote(answered)),
            (Some("fine_tuning.job"), None) => "a job that has no ID".into(),
            (Some(object), _) => format!("an object of the kind {:?}, not a fine-tuning job", self.quote(object)),
            (None, _) => "JSON that is not a fine-tuning job".into(),
        };
        Err(Failed::never(format!("{} answered with {wrong}; check base_url", self.host())))
    }

    /// What a status other than 200 means, in the API's own words, and what to do about it.
    fn refusal(&self, response: &Response<Body>, body: &[u8]) -> Failed {
        let answer: Value = serde_json::from_slice(body).unwrap_or_default();
        let error =
            |key: &str| Some(self.quote(answer.get("error")?.get(key)?.as_str()?)).filter(|text| !text.is_empty());
        let status = response.status();
        let reason = error("message").or_else(|| status.canonical_reason().map(Into::into)).unwrap_or_default();
        let key = &self.settings.key_variable;
        let advice = match status.as_u16() {
            300..=399 => "; redirects are not followed: set base_url to the API's own address".into(),
            401 => format!("; check the API key in {key}"),
            403 => format!("; check what the API key in {key} may do, and for which organization and project"),
            404 => format!("; check the ID, and that the API key in {key} is of the project that owns the job"),
            429 if error("code").as_deref() == Some("insufficient_quota") => {
                "; check the organization's plan and billing".into()
            }
            429 => "; ask less often, or allow more time with timeout".into(),
            500.. => "; try again later".into(),
            _ => String::new(),
        };
        let request_id = self.request_id(response);
        let failed = Failed::new(
            format!("{} answered HTTP {}: {reason}{request_id}{advice}", self.host(), status.as_u16()),
            Again::after_status(status, response.headers(), SystemTime::now()),
        );
        match status.as_u16() {
            300..=399 | 401 | 403 => failed.concerning_all(),
            _ => failed,
        }
    }

    /// What went wrong before an answer was complete. `what` says what the program was waiting for.
    fn no_answer(&self, error: &Error, what: &str, limits: Limits) -> Failed {
        // The name may stand for another address by now.
        *lock(&self.addresses) = None;
        let host = self.host();
        // Behind a proxy, only the proxy's name is looked up here, and only the proxy is connected to.
        let (peer, checked) = match &self.settings.proxy {
            Some(proxy) => (format!("the proxy {}:{}", proxy.host(), proxy.port()), "the proxy's address"),
            None => (host.to_owned(), "base_url and the network"),
        };
        let within =
            |limit: Duration| format!("within {}", format_duration(Duration::from_millis(limit.as_millis() as u64)));
        match error {
            Error::Timeout(Timeout::Resolve) => {
                Failed::soon(format!("the name of {peer} was not resolved {}; check {checked}", within(limits.connect)))
                    .concerning_all()
            }
            Error::Timeout(Timeout::Connect) => {
                Failed::soon(format!("no connection to {peer} {}; check {checked}", within(limits.connect)))
                    .concerning_all()
            }
            Error::Timeout(_) => Failed::soon(format!("{what} {host} {}", within(limits.budget))),
            Error::ConnectProxyFailed(reason) => Failed::never(format!(
                "{peer} refused to connect to {host}: {}; check the proxy, or list the host in NO_PROXY",
                // ureq says the status twice: "responded 407/407".
                reason.split('/').next().unwrap_or_default()
            ))
            .concerning_all(),
            Error::LargeResponseHeader(..) => {
                Failed::never(format!("the headers of the answer of {host} are over {} KiB", MAX_HEADERS >> 10))
            }
            Error::BodyExceedsLimit(_) => Failed::never(format!("the answer of {host} is over {} MiB", MAX_BODY >> 20)),
            Error::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref()) {
                Some(error) => Failed::never(format!("no TLS with {host}: {}", tls_reason(error))).concerning_all(),
                None if error.kind() == ErrorKind::ConnectionRefused => {
                    Failed::soon(format!("{peer} refused the connection; check {checked}")).concerning_all()
                }
                // std has no kind of its own for this one.
                None if error.to_string().starts_with("failed to lookup address") => {
                    Failed::soon(format!("the name of {peer} was not found ({error}); check {checked}"))
                        .concerning_all()
                }
                None => Failed::soon(format!("{what} {host}: {error}")),
            },
            Error::Protocol(error) => {
                Failed::never(format!("{host} answered with something that is not HTTP: {error}; check base_url"))
            }
            other => Failed::soon(format!("{what} {host}: {other}")),
        }
    }

    /// How long an attempt may take in a pass that has all of `timeout`.
    fn attempt(&self) -> Duration {
        self.settings.timeout / ATTEMPTS
    }

    fn host(&self) -> &str {
        self.settings.host()
    }

    fn header(&self, response: &Response<Body>, name: &str) -> Option<String> {
        Some(self.quote(response.headers().get(name)?.to_str().ok()?))
    }

    /// For the message: what OpenAI's support asks for.
    fn request_id(&self, response: &Response<Body>) -> String {
        self.header(response, "x-request-id").map(|id| format!(" (request ID {id})")).unwrap_or_default()
    }

    /// What a server said, fit for a terminal.
    pub fn quote(&self, text: &str) -> String {
        message::quote(text, &self.settings.key)
    }
}

/// How long the phases of one attempt may take.
#[derive(Clone, Copy, PartialEq)]
struct Limits {
    connect: Duration,
    budget: Duration,
}

impl Limits {
    fn of(budget: Duration) -> Self {
        // Two fifths each, for the name and for the connection, leave time for the answer, and tell the phases apart:
        // ureq calls all that is cut short by the global timeout by one name.
        Limits { connect: CONNECT_TIMEOUT.min(budget * 2 / 5), budget }
    }
}

/// Says what is wrong with the server's certificate, and who can mend it.
fn tls_reason(error: &rustls::Error) -> String {
    use rustls::CertificateError::*;

    let rustls::Error::InvalidCertificate(reason) = error else {
        return error.to_string();
    };
    match reason {
        Expired | ExpiredContext { .. } => "its certificate has expired; or is this machine's clock wrong?".into(),
        NotValidYet | NotValidYetContext { .. } => {
            "its certificate is not valid yet; or is this machine's clock wrong?".into()
        }
        NotValidForName | NotValidForNameContext { .. } => format!("{reason}; check base_url"),
        // A certificate that signed itself is the one or the other, as it says of itself whether it is an authority.
        UnknownIssuer => UNTRUSTED.into(),
        Other(other) if other.to_string().contains("CaUsedAsEndEntity") => UNTRUSTED.into(),
        _ => reason.to_string(),
    }
}

const UNTRUSTED: &str = "its certificate is signed by itself or by an authority that this machine does not trust; \
    if it should, name the authority's PEM file in SSL_CERT_FILE";

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Instant;

    use proptest::prelude::*;
    use socket2::{Domain, Socket, Type};

    use super::*;
    use crate::settings::Secret;

    fn settings() -> Settings {
        Settings {
            base_url: Uri::from_static("http://two.test/v1"),
            key: Secret::new("not-a-real-key".into()),
            key_variable: "OPENAI_API_KEY".into(),
            organization: None,
            project: None,
            timeout: Duration::from_secs(60),
            proxy: None,
        }
    }

    /// A name service that knows the same addresses for every name, and counts how often it is asked.
    #[derive(Debug)]
    struct Names(Vec<SocketAddr>, Arc<AtomicUsize>);

    impl Resolver for Names {
        fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
            self.1.fetch_add(1, Ordering::Relaxed);
            let mut addresses = self.empty();
            self.0.iter().for_each(|address| addresses.push(*address));
            Ok(addresses)
        }
    }

    /// An address that never answers: its queue has one place, which is taken.
    fn silent_address() -> (SocketAddr, Socket, TcpStream) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let taken = TcpStream::connect(address).unwrap();
        (address, socket, taken)
    }

    /// Answers each connection once, then closes it.
    fn answering_address() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.read(&mut [0; 4096]).unwrap();
                let body = r#"{"object":"fine_tuning.job","id":"ftjob-x"}"#;
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
            }
        });
        address
    }

    #[test]
    fn the_second_address_answers_when_the_first_does_not() {
        let (silent, _socket, _taken) = silent_address();
        let settings = settings();
        let config = Api::new(&settings).unwrap().agent.config().clone();
        let names = Names(vec![silent, answering_address()], Arc::default());
        let start = Instant::now();
        assert!(Api::with_resolver(&settings, config, names).job("ftjob-x", &Pass::new(settings.timeout)).is_ok());
        assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    }

    #[test]
    fn the_name_is_looked_up_again_only_after_a_failure() {
        let settings = settings();
        let config = Api::new(&settings).unwrap().agent.config().clone();
        let lookups = Arc::new(AtomicUsize::new(0));
        let api = Api::with_resolver(&settings, config, Names(vec![answering_address()], lookups.clone()));
        for _ in 0..3 {
            assert!(api.job("ftjob-x", &Pass::new(settings.timeout)).is_ok());
            // Time to see that the server closed the connection, so that the next request needs the address again.
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(lookups.load(Ordering::Relaxed), 1);
        api.no_answer(&Error::HostNotFound, "", Limits::of(Duration::ZERO));
        assert!(api.job("ftjob-x", &Pass::new(settings.timeout)).is_ok());
        assert_eq!(lookups.load(Ordering::Relaxed), 2);
    }

    /// Bytes, and texts that come close to a job.
    fn any_body() -> impl Strategy<Value = Vec<u8>> {
        let members = prop::collection::vec(
            "\"(id|object|error|metadata|[a-z]{1,5})\":(null|\"[a-z]{0,3}\"|[0-9]{1,4}|[\\[{}\\],:]{0,3})",
            0..5,
        );
        let close = members.prop_map(|members| {
            let members = members.iter().map(|member| format!(",{member}"));
            format!(r#"{{"object":"fine_tuning.job","id":"ftjob-x"{}}}"#, members.collect::<String>()).into_bytes()
        });
        prop_oneof![any::<Vec<u8>>(), close]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn any_body_is_a_job_or_an_error(body in any_body()) {
            let settings = settings();
            let api = Api::new(&settings).unwrap();
            let response = Response::new(Body::builder().data(""));
            if let Ok(answer) = api.parse(&response, &body).and_then(|answer| api.check(answer, "ftjob-x")) {
                prop_assert!(job::result(&answer, false).is_ok());
            }
        }
    }
}
