//! Sends one GET request, once, and returns JSON or one clear error.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::http::StatusCode;
use ureq::tls::TlsConfig;

use super::body::Bodies;
use super::connector;
use super::deadline::Deadline;
use super::error::{Kind, RequestError, Retry};
use super::pacing::Pacing;
use super::resolver::Resolver;
use super::response::{self, Unusable};
use super::retry::MAX_RETRIES;
use super::transport_error::{self, Limits, MAX_BODY, MAX_HEADERS};
use crate::endpoint::Endpoint;

/// A GET request of the API: the path below its address, the query's pairs, whose values may have any characters, and how
/// the JSON of the response is read.
pub(super) struct Get<'a, T> {
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) read: &'a Read<'a, T>,
}

pub(super) type Read<'a, T> = dyn Fn(&[u8]) -> Result<T, Unusable> + Sync + 'a;

/// How many connections are kept alive at once.
pub const MAX_CONNECTIONS: usize = 32;

/// How long connecting may take, TLS included. With a second address, ureq leaves a third of it for that.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than the pauses of a wait, so that one connection serves all polls if the server lets it.
const MAX_IDLE: Duration = Duration::from_secs(60);
/// The longest URL, in bytes. ureq panics at longer ones.
const MAX_URL: usize = 65_534;

pub(super) struct Client<'a> {
    agent: Agent,
    resolver: Resolver,
    pub(super) pacing: Pacing,
    bodies: Bodies,
    has_succeeded: AtomicBool,
    endpoint: &'a Endpoint,
    /// How long an attempt may take: a third of the timeout, so that one that hangs leaves time for two retries.
    attempt: Duration,
}

impl<'a> Client<'a> {
    /// Sends no request yet.
    pub(super) fn new(endpoint: &'a Endpoint, timeout: Duration) -> Self {
        Self::with_resolver(endpoint, timeout, Resolver::new())
    }

    pub(super) fn with_resolver(endpoint: &'a Endpoint, timeout: Duration, resolver: Resolver) -> Self {
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
            bodies: Bodies::new(),
            has_succeeded: AtomicBool::new(false),
            endpoint,
            attempt,
        }
    }

    pub(super) fn endpoint(&self) -> &'a Endpoint {
        self.endpoint
    }

    /// Whether any request of this run has succeeded.
    pub(super) fn has_succeeded(&self) -> bool {
        self.has_succeeded.load(Ordering::Relaxed)
    }

    pub(super) fn note_success(&self) {
        self.has_succeeded.store(true, Ordering::Relaxed);
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

    /// Sends a request once.
    pub(super) fn attempt<T>(&self, request: &Get<T>, deadline: &Deadline) -> Result<T, RequestError> {
        let (result, connects) = connector::noting_connections(|| self.send(request, deadline));
        result.map_err(|error| match error.kind {
            Kind::Connection => {
                self.resolver.refresh();
                error
            }
            // A connection that was kept alive may turn out to be closed. That is no fault of the request, which may be
            // sent on another one at once (RFC 9112, section 9.3.1).
            Kind::NoResponse if !connects => RequestError { kind: Kind::Stale, ..error },
            _ => error,
        })
    }

    fn send<T>(&self, Get { path, query, read }: &Get<T>, deadline: &Deadline) -> Result<T, RequestError> {
        let start = Instant::now();
        let attempt = deadline.left(start).min(self.attempt);
        let limits = Limits { connect: CONNECT_TIMEOUT.min(attempt), attempt, deadline };
        let url = self.endpoint.base_url.join(path);
        check_length(&url, query)?;
        let mut request = self.agent.get(url).query_pairs(query.iter().map(|(key, value)| (&**key, &**value)));
        // Only if it differs from the agent's own: ureq then builds its whole TLS configuration again.
        if attempt < self.attempt {
            request = request.config().timeout_global(Some(attempt)).build();
        }
        for (name, value) in self.headers() {
            request = request.header(name, value);
        }
        let explain = |error, is_body| transport_error::explain(&error, self.endpoint, limits, is_body);
        let (head, mut body) = request.call().map_err(|error| explain(error, false))?.into_parts();
        let body = body.with_config().limit(MAX_BODY).reader();
        self.bodies.read(body, start + attempt, |body| {
            if head.status != StatusCode::OK {
                let body = body.unwrap_or_default();
                return Err(response::refusal(head.status, &head.headers, body, self.endpoint, deadline));
            }
            let body = body.map_err(|error| explain(error, true))?;
            response::parse(&head.headers, body, self.endpoint, read)
        })
    }
}

/// Checks the length of a URL, as if most characters of the query had to be encoded.
fn check_length(url: &str, query: &[(String, String)]) -> Result<(), RequestError> {
    let encoded = |text: &str| text.bytes().map(|byte| if byte.is_ascii_alphanumeric() { 1 } else { 3 }).sum::<usize>();
    let length = url.len() + query.iter().map(|(key, value)| encoded(key) + encoded(value) + 2).sum::<usize>();
    if length <= MAX_URL {
        return Ok(());
    }
    let message = format!("the request would have a URL of over {MAX_URL} bytes");
    Err(RequestError::new(message, "filter by less metadata".into(), Retry::Never, Kind::Response))
}
