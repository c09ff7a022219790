//! One request at a time, and what comes of it: JSON, or one clear sentence that says what went wrong.

use std::io::{self, ErrorKind};
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
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

use crate::message;
use crate::retry::{self, Again, Failed};
use crate::settings::{self, Settings};
use crate::trust;

/// How many connections are used at once: few enough to be kind to the API. (A thousand jobs 50 ms away, a quarter of
/// them in the list, take 2.9 s with 16; 32 take 0.53 of it, 8 twice as long.)
pub const CONNECTIONS: usize = 16;

/// The longest answer that is read, in bytes.
const MAX_BODY: u64 = 10 * 1024 * 1024;
/// How long connecting may take, TLS included. With a second address, ureq leaves a third of it for that.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// ureq zeroes its buffers, so larger ones cost time in every run.
const INPUT_BUFFER: usize = 32 * 1024;
const OUTPUT_BUFFER: usize = 16 * 1024;
/// Less than the input buffer: headers that fill it look like a connection that was closed.
const MAX_HEADERS: usize = 16 * 1024;
/// Longer than any pause between two requests, so that one connection serves them all if the server lets it.
const MAX_IDLE: Duration = Duration::from_secs(60);
/// serde_json's own mark for a number whose digits are kept, without the `$` before it, which JSON may spell in other
/// ways: an object with this key would be read as a number.
const NUMBER_MARK: &str = "serde_json::private::Number";

pub struct Client<'a> {
    agent: Agent,
    addresses: Arc<Addresses>,
    settings: &'a Settings,
}

/// What the name service said.
#[derive(Debug, Default)]
struct Addresses {
    found: Mutex<Option<ResolvedSocketAddrs>>,
    /// Whether a connection failed since, so that the name may stand for another address by now.
    stale: AtomicBool,
}

/// Asks the name service once, where ureq would for each request. One process only ever looks up one name, the API's
/// or the proxy's.
#[derive(Debug)]
struct ResolveOnce<R> {
    resolver: R,
    addresses: Arc<Addresses>,
}

impl<R: Resolver> Resolver for ResolveOnce<R> {
    fn resolve(&self, url: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let Addresses { found, stale } = &*self.addresses;
        let mut found = match found.try_lock() {
            Ok(found) => found,
            Err(TryLockError::Poisoned(found)) => found.into_inner(),
            Err(TryLockError::WouldBlock) => {
                // Another thread is asking. If it gets no answer, neither does this one: there is no time to ask again.
                let found = found.lock().unwrap_or_else(PoisonError::into_inner);
                return found.clone().ok_or(Error::HostNotFound);
            }
        };
        if stale.swap(false, Ordering::Relaxed) {
            *found = None;
        }
        if found.is_none() {
            *found = Some(self.resolver.resolve(url, config, timeout)?);
        }
        found.clone().ok_or(Error::HostNotFound)
    }
}

impl<'a> Client<'a> {
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
        let limits = Limits::of(retry::attempt(settings.timeout));
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
        let addresses = Arc::<Addresses>::default();
        let resolver = ResolveOnce { resolver, addresses: addresses.clone() };
        Client { agent: Agent::with_parts(config, DefaultConnector::default(), resolver), addresses, settings }
    }

    /// Gets `path` of the API, within `budget`. Query values may have any characters.
    ///
    /// # Errors
    /// All but JSON with status 200, in words for the user.
    pub fn get(&self, path: &str, query: &[(String, String)], budget: Duration) -> Result<(HeaderMap, Value), Failed> {
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
            return Err(never(format!("the name ${NUMBER_MARK}, which this program cannot tell from a number")));
        }
        let answer: Value = serde_json::from_slice(body).map_err(|error| {
            let content_type = self.header(response, "content-type").unwrap_or_default();
            if error.is_eof() {
                // A body that ends with its connection looks whole until it is parsed.
                Failed::soon(format!("the answer of {host} was cut short{request_id}"))
            } else if content_type.contains("json") {
                never(format!("JSON that cannot be read: {error}"))
            } else {
                Failed::later(format!(
                    "{host} answered with {}, not JSON{request_id}; check {}, and that no proxy or login page answers instead",
                    if content_type.is_empty() { "something" } else { &content_type },
                    self.base_url_name()
                ))
            }
        })?;
        if self.settings.key.is_in_json(&answer.to_string()) {
            return Err(never("the API key in it, which must not get into Terraform's state".into()));
        }
        Ok(answer)
    }

    /// What a status other than 200 means, in the API's own words, and what to do about it.
    fn refusal(&self, response: &Response<Body>, body: &[u8]) -> Failed {
        let answer: Value = serde_json::from_slice(body).unwrap_or_default();
        let error =
            |key: &str| Some(self.quote(answer.get("error")?.get(key)?.as_str()?)).filter(|text| !text.is_empty());
        let status = response.status();
        let reason = error("message").or_else(|| status.canonical_reason().map(Into::into)).unwrap_or_default();
        let (key, base_url) = (&self.settings.key_variable, self.base_url_name());
        let advice = match status.as_u16() {
            300..=399 => format!("; redirects are not followed: set {base_url} to the API's own address"),
            401 => format!("; check the API key in {key}"),
            403 => format!("; check what the API key in {key} may do, and for which organization and project"),
            404 if error("message").is_none() => format!("; check {base_url}"),
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
        self.addresses.stale.store(true, Ordering::Relaxed);
        let host = self.host();
        // Behind a proxy, only the proxy's name is looked up here, and only the proxy is connected to.
        let (peer, checked) = match &self.settings.proxy {
            Some(proxy) => (format!("the proxy {}:{}", proxy.host(), proxy.port()), "the proxy's address"),
            None => (host.to_owned(), &*format!("{} and the network", self.base_url_name())),
        };
        let within =
            |limit: Duration| format!("within {}", format_duration(Duration::from_millis(limit.as_millis() as u64)));
        let no_way = |why: String| Failed::soon(format!("{why}; check {checked}")).concerning_all();
        // What the end of the pass cuts short says nothing of the network.
        let too_slow = |why: String| match limits.budget < self.attempt() {
            true => Failed::soon(format!("{why}; allow more with timeout")),
            false => no_way(why),
        };

        let error = match error {
            Error::Io(error) => error,
            Error::Timeout(Timeout::Resolve) => {
                return too_slow(format!("the name of {peer} was not resolved {}", within(limits.connect)));
            }
            Error::Timeout(Timeout::Connect) => {
                return too_slow(format!("no connection to {peer} {}", within(limits.connect)));
            }
            Error::Timeout(_) => {
                return Failed::soon(format!("{what} {host} {}; allow more with timeout", within(limits.budget)));
            }
            Error::HostNotFound => return no_way(format!("the name of {peer} was not found")),
            Error::ConnectProxyFailed(reason) => {
                // ureq says the status twice: "responded 407/407".
                let reason = reason.split('/').next().unwrap_or_default();
                let advice = "check the proxy, or list the host in NO_PROXY";
                return Failed::never(format!("{peer} refused to connect to {host}: {reason}; {advice}"))
                    .concerning_all();
            }
            Error::LargeResponseHeader(..) => {
                return Failed::never(format!(
                    "the headers of the answer of {host} are over {} KiB",
                    MAX_HEADERS >> 10
                ));
            }
            Error::BodyExceedsLimit(_) => {
                return Failed::never(format!("the answer of {host} is over {} MiB", MAX_BODY >> 20));
            }
            Error::Protocol(error) => {
                let base_url = self.base_url_name();
                return Failed::later(format!("{host} does not answer in HTTP: {error}; check {base_url}"));
            }
            other => return Failed::soon(format!("{what} {host}: {other}")),
        };
        if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
            return Failed::never(format!("no TLS with {host}: {}", self.tls_reason(error))).concerning_all();
        }
        match error.kind() {
            ErrorKind::ConnectionRefused => no_way(format!("{peer} refused the connection")),
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => {
                no_way(format!("{peer} cannot be reached ({error})"))
            }
            _ if is_unknown_name(error) => no_way(format!("the name of {peer} was not found ({error})")),
            _ => Failed::soon(format!("{what} {host}: {error}")),
        }
    }

    /// Says what is wrong with the server's certificate, and who can mend it.
    fn tls_reason(&self, error: &rustls::Error) -> String {
        use rustls::CertificateError::*;

        let base_url = self.base_url_name();
        let reason = match error {
            rustls::Error::InvalidCertificate(reason) => reason,
            rustls::Error::InvalidMessage(_) => return format!("it does not answer in TLS; check {base_url}"),
            other => return other.to_string(),
        };
        match reason {
            Expired | ExpiredContext { .. } => "its certificate has expired; or is this machine's clock wrong?".into(),
            NotValidYet | NotValidYetContext { .. } => {
                "its certificate is not valid yet; or is this machine's clock wrong?".into()
            }
            // Quoted, as a certificate may have a hundred names.
            NotValidForName | NotValidForNameContext { .. } => {
                format!("{}; check {base_url}", self.quote(&reason.to_string()))
            }
            // A certificate that signed itself is the one or the other, as it says of itself whether it is an authority.
            UnknownIssuer => UNTRUSTED.into(),
            Other(other) if other.to_string().contains("CaUsedAsEndEntity") => UNTRUSTED.into(),
            _ => reason.to_string(),
        }
    }

    /// What is being asked fails now, and whatever would be asked later.
    pub fn hang_up(&self) {
        self.agent.clone().shutdown();
    }

    /// How long an attempt may take in a pass that has all of `timeout`.
    pub fn attempt(&self) -> Duration {
        retry::attempt(self.settings.timeout)
    }

    /// Where the API's address was given, for messages.
    pub fn base_url_name(&self) -> &'static str {
        self.settings.base_url_name
    }

    /// The API's host, for messages.
    pub fn host(&self) -> &str {
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

/// std has no kind for a name that the name service does not know, only its own words, and on Windows a number
/// (WSAHOST_NOT_FOUND).
fn is_unknown_name(error: &io::Error) -> bool {
    error.to_string().starts_with("failed to lookup address") || error.raw_os_error() == Some(11001)
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

const UNTRUSTED: &str = "its certificate is signed by itself or by an authority that this machine does not trust; \
    if it should, name the authority's PEM file in SSL_CERT_FILE";

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::sync::atomic::AtomicUsize;
    use std::thread;
    use std::time::Instant;

    use proptest::prelude::*;
    use socket2::{Domain, Socket, Type};

    use super::*;
    use crate::job;
    use crate::settings::Secret;

    fn settings() -> Settings {
        Settings {
            base_url: Uri::from_static("http://two.test/v1"),
            base_url_name: "base_url",
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
            thread::sleep(Duration::from_millis(20));
            let mut addresses = self.empty();
            self.0.iter().for_each(|address| addresses.push(*address));
            Ok(addresses)
        }
    }

    fn client(settings: &Settings, names: Names) -> Client<'_> {
        let config = Client::new(settings).unwrap().agent.config().clone();
        Client::with_resolver(settings, config, names)
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
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").unwrap();
            }
        });
        address
    }

    #[test]
    fn the_second_address_answers_when_the_first_does_not() {
        let (silent, _socket, _taken) = silent_address();
        let settings = settings();
        let client = client(&settings, Names(vec![silent, answering_address()], Arc::default()));
        let start = Instant::now();
        assert!(client.get("x", &[], client.attempt()).is_ok());
        assert!(start.elapsed() < Duration::from_millis(4500), "{:?}", start.elapsed());
    }

    #[test]
    fn the_name_is_looked_up_again_only_after_a_failure() {
        let settings = settings();
        let lookups = Arc::new(AtomicUsize::new(0));
        let client = client(&settings, Names(vec![answering_address()], lookups.clone()));
        let get = || assert!(client.get("x", &[], client.attempt()).is_ok());
        thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(get))));
        // Time to see that the server closed the connections, so that the next request needs the address again.
        thread::sleep(Duration::from_millis(20));
        get();
        assert_eq!(lookups.load(Ordering::Relaxed), 1);

        client.no_answer(&Error::HostNotFound, "", Limits::of(Duration::ZERO));
        get();
        assert_eq!(lookups.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn what_the_end_of_the_pass_cuts_short_is_no_reason_to_give_up_the_rest() {
        let settings = settings();
        let client = Client::new(&settings).unwrap();
        for phase in [Timeout::Resolve, Timeout::Connect] {
            let failed = |budget| client.no_answer(&Error::Timeout(phase), "", Limits::of(budget));
            assert!(failed(client.attempt()).concerns_all);
            let cut_short = failed(client.attempt() / 100);
            assert!(
                !cut_short.concerns_all && cut_short.why.ends_with("; allow more with timeout"),
                "{}",
                cut_short.why
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn any_body_is_json_or_an_error(body: Vec<u8>, text in "[\\[{]?\"(id|[a-z]{1,3})\":[0-9\\]}\\[{\",:e.]{0,9}[\\]}]?") {
            let settings = settings();
            let client = Client::new(&settings).unwrap();
            let response = Response::new(Body::builder().data(""));
            for body in [&body, text.as_bytes()] {
                if let Ok(answer) = client.parse(&response, body) {
                    prop_assert!(job::result(&[answer], false).is_ok());
                }
            }
        }
    }
}
