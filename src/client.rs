//! Sends one GET request at a time, with retries, and returns JSON or one clear error.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::Agent;
use ureq::http::StatusCode;
use ureq::tls::TlsConfig;

use crate::connector;
use crate::endpoint::Endpoint;
use crate::error::{Kind, RequestError};
use crate::message::duration;
use crate::pacing::Pacing;
use crate::resolver::Resolver;
use crate::response;
use crate::retry::{Deadline, MAX_RETRIES, Retry, backoff};
use crate::transport_error::{self, Limits, MAX_BODY, MAX_HEADERS, MORE_TIME};

/// How many connections are kept alive at once.
pub const MAX_CONNECTIONS: usize = 32;

/// How long connecting may take, TLS included. With a second address, ureq leaves a third of it for that.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than the pauses of a wait, so that one connection serves all polls if the server lets it.
const MAX_IDLE: Duration = Duration::from_secs(60);

pub struct Client<'a> {
    agent: Agent,
    resolver: Resolver,
    pacing: Pacing,
    has_succeeded: AtomicBool,
    endpoint: &'a Endpoint,
    /// How long an attempt may take: a third of the timeout, so that one that hangs leaves time for two retries.
    attempt: Duration,
}

impl<'a> Client<'a> {
    /// Sends no request yet.
    pub fn new(endpoint: &'a Endpoint, timeout: Duration) -> Self {
        Self::with_resolver(endpoint, timeout, Resolver::new())
    }

    fn with_resolver(endpoint: &'a Endpoint, timeout: Duration, resolver: Resolver) -> Self {
        let attempt = timeout / (MAX_RETRIES + 1);
        let mut tls = TlsConfig::builder();
        if let Some(roots) = &endpoint.roots {
            tls = tls.root_certs(roots.clone());
        }
        let config = Agent::config_builder()
            .timeout_global(Some(attempt))
            .timeout_resolve(Some(CONNECT_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .tls_config(tls.build())
            .proxy(endpoint.proxy.as_ref().map(|proxy| proxy.settings.clone()))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            .accept("application/json")
            .max_response_header_size(MAX_HEADERS)
            .max_idle_age(MAX_IDLE)
            .max_idle_connections(MAX_CONNECTIONS)
            .max_idle_connections_per_host(MAX_CONNECTIONS)
            .build();
        Client {
            agent: Agent::with_parts(config, connector::connector(), resolver.clone()),
            resolver,
            pacing: Pacing::default(),
            has_succeeded: AtomicBool::new(false),
            endpoint,
            attempt,
        }
    }

    pub fn endpoint(&self) -> &'a Endpoint {
        self.endpoint
    }

    /// Whether any request of this run has succeeded.
    pub fn has_succeeded(&self) -> bool {
        self.has_succeeded.load(Ordering::Relaxed)
    }

    /// How long the server's rate limit holds requests back from now on.
    pub fn rate_limit_delay(&self) -> Duration {
        self.pacing.delay(Instant::now())
    }

    /// Gets `path` of the API. Query values may have any characters. Retries until it succeeds, fails for good, or has no
    /// time left.
    pub fn get(&self, path: &str, query: &[(String, String)], deadline: &Deadline) -> Result<Value, RequestError> {
        self.send(path, query, deadline, true)
    }

    /// The same, but leaves it to the caller to try another connection.
    pub fn get_without_reconnecting(&self, path: &str, deadline: &Deadline) -> Result<Value, RequestError> {
        self.send(path, &[], deadline, false)
    }

    fn send(
        &self,
        path: &str,
        query: &[(String, String)],
        deadline: &Deadline,
        reconnects: bool,
    ) -> Result<Value, RequestError> {
        let (mut attempts, mut retries, mut connection_retries) = (0, 0, 0);
        let mut last_error = None;
        loop {
            if let Err(error) = self.pause_for_rate_limit(deadline) {
                return Err(last_error.unwrap_or(error));
            }
            let sent = Instant::now();
            let mut error = match self.attempt_on_open_connection(path, query, deadline) {
                Ok(answer) => {
                    self.pacing.accepted();
                    self.has_succeeded.store(true, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(error) => error,
            };
            attempts += 1;
            if error.kind == Kind::Connection {
                self.resolver.refresh();
            }
            if error.is_of_connection() && !reconnects {
                return Err(error);
            }
            // A connection that cannot be made costs the request none of its retries.
            let retries = if error.kind == Kind::Connection { &mut connection_retries } else { &mut retries };
            let pause = match error.retry {
                Retry::RateLimited(pause) => {
                    self.pacing.rejected(sent, Instant::now(), pause, fastrand::f64());
                    Some(self.rate_limit_delay())
                }
                Retry::After(pause) if *retries < MAX_RETRIES => {
                    *retries += 1;
                    Some(pause.unwrap_or_else(|| backoff(*retries - 1, fastrand::f64())))
                }
                _ => None,
            };
            let left = deadline.left();
            error = error.with_attempts(attempts);
            match pause.filter(|pause| *pause < left) {
                Some(pause) => thread::sleep(pause),
                None => {
                    if let (1, Retry::After(Some(pause)) | Retry::RateLimited(Some(pause))) = (attempts, error.retry) {
                        let pause = duration(pause);
                        error.notes.push(format!("Retry-After is {pause}, more than timeout leaves"));
                    }
                    return Err(error);
                }
            }
            last_error = Some(error);
        }
    }

    /// Waits while a rate limit holds all requests of the run back.
    fn pause_for_rate_limit(&self, deadline: &Deadline) -> Result<(), RequestError> {
        loop {
            let left = deadline.left();
            if left.is_zero() {
                let message =
                    format!("the timeout of {} ended before the request was sent", duration(deadline.timeout));
                return Err(RequestError::new(message, MORE_TIME.into(), Retry::Later, Kind::Response));
            }
            let Err(pause) = self.pacing.take_turn(Instant::now()) else {
                return Ok(());
            };
            if pause >= left {
                let message = format!("{} limits the request rate", self.endpoint.host());
                let advice = response::rate_limit_advice(Some(pause)).into();
                let note = format!("the next request may be sent in {}, later than timeout allows", duration(pause));
                let retry = Retry::RateLimited(Some(pause));
                return Err(RequestError::new(message, advice, retry, Kind::Response).with_note(Some(note)));
            }
            thread::sleep(pause);
        }
    }

    /// The custom headers, and the program's own as far as they do not replace them.
    fn headers(&self) -> Vec<(&str, String)> {
        let Endpoint { key, organization, project, custom_headers, .. } = self.endpoint;
        let mut headers = vec![("authorization", format!("Bearer {}", key.expose()))];
        headers.extend(organization.iter().map(|value| ("openai-organization", value.clone())));
        headers.extend(project.iter().map(|value| ("openai-project", value.clone())));
        headers.retain(|(name, _)| custom_headers.iter().all(|(custom, _)| custom != name));
        headers.extend(custom_headers.iter().map(|(name, value)| (name.as_str(), value.clone())));
        headers
    }

    /// A connection that was kept alive may turn out to be closed. That is no fault of the request, which may be sent on
    /// another one at once (RFC 9112, section 9.3.1).
    fn attempt_on_open_connection(
        &self,
        path: &str,
        query: &[(String, String)],
        deadline: &Deadline,
    ) -> Result<Value, RequestError> {
        loop {
            let (result, connects) = connector::noting_connections(|| self.attempt(path, query, deadline));
            match result {
                Err(error) if error.kind == Kind::NoResponse && !connects => {}
                result => return result,
            }
        }
    }

    fn attempt(&self, path: &str, query: &[(String, String)], deadline: &Deadline) -> Result<Value, RequestError> {
        let attempt = deadline.left().min(self.attempt);
        let limits = Limits { connect: CONNECT_TIMEOUT.min(attempt), attempt, timeout: deadline.timeout };
        let url = self.endpoint.base_url.join(path);
        let mut request = self.agent.get(url).query_pairs(query.iter().map(|(key, value)| (&**key, &**value)));
        // Only where it differs from the agent's own: ureq then builds its whole TLS configuration again.
        if attempt < self.attempt {
            request = request.config().timeout_global(Some(attempt)).build();
        }
        for (name, value) in self.headers() {
            request = request.header(name, value);
        }
        let sort = |error, is_body| transport_error::sort(&error, self.endpoint, limits, is_body);
        let mut response = request.call().map_err(|error| sort(error, false))?;
        let body = response.body_mut().with_config().limit(MAX_BODY).read_to_vec();
        if response.status() != StatusCode::OK {
            let body = body.unwrap_or_default();
            return Err(response::refusal(response.status(), response.headers(), &body, self.endpoint));
        }
        let body = body.map_err(|error| sort(error, true))?;
        response::parse(response.headers(), &body, self.endpoint)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use serde_json::json;
    use socket2::{Domain, Socket, Type};

    use super::*;
    use crate::proxy::Proxy;
    use crate::test_server;

    const TIMEOUT: Duration = Duration::from_secs(60);

    /// Addresses that never answer: each listener's queue is filled until it takes no more.
    fn silent_address() -> (SocketAddr, Socket, Vec<TcpStream>) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.listen(1).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let connect = |_| TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
        (address, socket, (0..1000).map_while(connect).collect())
    }

    #[test]
    fn the_second_address_is_used_when_the_first_does_not_answer() {
        let (silent, _socket, _queue) = silent_address();
        let answering = test_server::start(|_| json!({}));
        let endpoint = test_server::endpoint("two.test");
        let client = Client::with_resolver(&endpoint, TIMEOUT, Resolver::with(move |_| Ok(vec![silent, answering])));
        assert!(client.get("x", &[], &Deadline::after(TIMEOUT)).is_ok());
    }

    #[test]
    fn a_name_is_looked_up_again_only_after_a_failed_connection() {
        let answering = test_server::start(|_| json!({}));
        let refusing = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let lookups = Arc::new(AtomicUsize::new(0));
        let counter = lookups.clone();
        let resolver = Resolver::with(move |_| {
            let is_first = counter.fetch_add(1, Ordering::SeqCst) == 0;
            Ok(vec![if is_first { refusing } else { answering }])
        });
        let endpoint = test_server::endpoint("moved.test");
        let client = Client::with_resolver(&endpoint, TIMEOUT, resolver);
        for _ in 0..3 {
            assert!(client.get("x", &[], &Deadline::after(TIMEOUT)).is_ok());
        }
        assert_eq!(lookups.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn more_addresses_than_ureq_takes_are_no_error() {
        let answering = test_server::start(|_| json!({}));
        let endpoint = test_server::endpoint("many.test");
        let client = Client::with_resolver(&endpoint, TIMEOUT, Resolver::with(move |_| Ok(vec![answering; 17])));
        assert!(client.get("x", &[], &Deadline::after(TIMEOUT)).is_ok());
    }

    #[test]
    fn a_name_that_is_not_found_is_reported_with_where_it_came_from() {
        let mut endpoint = test_server::endpoint("name.test");
        let line = |endpoint: &Endpoint| {
            let resolver = Resolver::with(|_| Err(std::io::Error::other("no such host")));
            let client = Client::with_resolver(endpoint, TIMEOUT, resolver);
            client.get("x", &[], &Deadline::after(TIMEOUT)).unwrap_err().to_string()
        };
        let ending = "(no such host) (after 3 attempts); check base_url and the network";
        assert_eq!(line(&endpoint), format!("could not resolve the name of name.test {ending}"));

        let settings = ureq::Proxy::new("http://proxy.test:3128").unwrap();
        endpoint.proxy = Some(Proxy { settings, variable: "HTTP_PROXY".into() });
        let ending = ending.replace("base_url", "HTTP_PROXY");
        assert_eq!(line(&endpoint), format!("could not resolve the name of the proxy proxy.test:3128 {ending}"));
    }

    #[test]
    fn a_deadline_that_has_passed_sends_no_request() {
        let endpoint = test_server::endpoint("never.test");
        let client = Client::with_resolver(&endpoint, TIMEOUT, Resolver::with(|_| panic!("a lookup")));
        let error = client.get("x", &[], &Deadline::after(Duration::ZERO)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the timeout of 0s ended before the request was sent; allow more time with timeout"
        );
    }
}
