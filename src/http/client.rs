//! Sends one request, once, and returns JSON or one clear error.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::http::StatusCode;
use ureq::tls::TlsConfig;
use ureq::{Agent, RequestBuilder};

use super::body::Bodies;
use super::connector;
use super::deadline::Deadline;
use super::error::{Kind, RequestError, Retry};
use super::pacing::Pacing;
use super::resolver::Resolver;
use super::response::{self, Unusable};
use super::retry::MAX_RETRIES;
use super::token::Tokens;
use super::transport_error::{self, Limits, MAX_BODY, MAX_HEADERS};
use crate::endpoint::{Credential, Endpoint};
use crate::text::Secret;

/// A request: the path below the server's address, the query's pairs, whose values may have any characters, and how the
/// JSON of the response is read.
pub(super) struct Request<'a, T> {
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    /// What is posted; `None` for a GET request.
    pub(super) body: Option<Value>,
    pub(super) read: &'a Read<'a, T>,
}

impl<'a, T> Request<'a, T> {
    pub(super) fn get(path: String, query: Vec<(String, String)>, read: &'a Read<'a, T>) -> Self {
        Request { path, query, body: None, read }
    }
}

pub(super) type Read<'a, T> = dyn Fn(&[u8]) -> Result<T, Unusable> + Sync + 'a;

/// How many connections are kept alive at once.
pub const MAX_CONNECTIONS: usize = 32;

/// How long connecting may take, TLS included. Looking the name up is not part of it, unless it is the proxy's.
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
    /// Where access tokens come from, if the endpoint's credential is one.
    tokens: Option<Tokens<'a>>,
    /// How long an attempt may take: a third of the timeout, so that one that hangs leaves time for two retries.
    attempt: Duration,
}

impl<'a> Client<'a> {
    /// Sends no request yet.
    pub(super) fn new(endpoint: &'a Endpoint, timeout: Duration) -> Self {
        Self::with_resolver(endpoint, timeout, Resolver::new())
    }

    /// The same with requests that carry access tokens, if they come from somewhere.
    pub(super) fn with_tokens(self, tokens: Option<Tokens<'a>>) -> Self {
        Client { tokens, ..self }
    }

    pub(super) fn with_resolver(endpoint: &'a Endpoint, timeout: Duration, resolver: Resolver) -> Self {
        let attempt = timeout / (MAX_RETRIES + 1);
        let mut tls = TlsConfig::builder().client_cert(endpoint.client_certificate.clone());
        if let Some(roots) = &endpoint.roots {
            tls = tls.root_certs(roots.clone());
        }
        let config = Agent::config_builder()
            .timeout_global(Some(attempt))
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
            agent: Agent::with_parts(config, connector::connector(resolver.clone()), resolver.clone()),
            resolver,
            pacing: Pacing::default(),
            bodies: Bodies::new(),
            has_succeeded: AtomicBool::new(false),
            endpoint,
            tokens: None,
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
    fn headers(&self, token: Option<&Secret>) -> Vec<(&str, String)> {
        let Endpoint { credential, organization, project, custom_headers, .. } = self.endpoint;
        let key = if let Credential::Key { key, .. } = credential { Some(key) } else { token };
        let mut headers: Vec<_> = key.iter().map(|key| ("authorization", format!("Bearer {}", key.expose()))).collect();
        headers.extend(organization.iter().map(|named| ("openai-organization", named.value.clone())));
        headers.extend(project.iter().map(|named| ("openai-project", named.value.clone())));
        headers.retain(|(name, _)| custom_headers.iter().all(|(custom, _)| custom != name));
        headers.extend(custom_headers.iter().map(|(name, value)| (name.as_str(), value.clone())));
        headers
    }

    /// Sends a request once, with an access token if it needs one.
    pub(super) fn attempt<T>(&self, request: &Request<T>, deadline: &Deadline) -> Result<T, RequestError> {
        let Some(tokens) = &self.tokens else {
            return self.attempt_with(None, request, deadline);
        };
        let token = tokens.token(deadline)?;
        tokens.note(&token, self.attempt_with(Some(&token.secret), request, deadline))
    }

    fn attempt_with<T>(
        &self,
        token: Option<&Secret>,
        request: &Request<T>,
        deadline: &Deadline,
    ) -> Result<T, RequestError> {
        let (result, address) = connector::noting_address(|| self.send(token, request, deadline));
        result.map_err(|error| match (error.kind, address) {
            // A connection that was kept alive may turn out to be closed. That is no fault of the request, which may be
            // sent on another one at once (RFC 9112, section 9.3.1).
            (Kind::NoResponse, None) => RequestError { kind: Kind::Stale, ..error },
            (Kind::Connection | Kind::NoResponse | Kind::TimedOut, _) => {
                if error.kind == Kind::Connection {
                    self.resolver.refresh();
                }
                // Another address may do better.
                address.into_iter().for_each(|address| self.resolver.put_last(address));
                error
            }
            _ => error,
        })
    }

    fn send<T>(&self, token: Option<&Secret>, request: &Request<T>, deadline: &Deadline) -> Result<T, RequestError> {
        let Request { path, query, body, read } = request;
        let start = Instant::now();
        let attempt = deadline.left(start).min(self.attempt);
        let limits = Limits { connect: CONNECT_TIMEOUT.min(attempt), attempt, deadline };
        let url = self.endpoint.base_url.join(path);
        check_length(&url, query)?;
        let sent = match body {
            None => {
                let query = query.iter().map(|(key, value)| (&**key, &**value));
                self.prepare(self.agent.get(url).query_pairs(query), token, attempt).call()
            }
            Some(body) => {
                let request = self.agent.post(url).content_type("application/json");
                self.prepare(request, token, attempt).send(body.to_string())
            }
        };
        let explain = |error, is_body| transport_error::explain(&error, self.endpoint, limits, is_body);
        let (head, mut body) = sent.map_err(|error| explain(error, false))?.into_parts();
        let body = body.with_config().limit(MAX_BODY).reader();
        self.bodies.read(body, start + attempt, |body| {
            if head.status != StatusCode::OK {
                let (body, has_succeeded) = (body.unwrap_or_default(), self.has_succeeded());
                return Err(response::refusal(&head, body, self.endpoint, has_succeeded, deadline));
            }
            let body = body.map_err(|error| explain(error, true))?;
            response::parse(&head.headers, body, self.endpoint, read)
        })
    }

    fn prepare<B>(
        &self,
        mut request: RequestBuilder<B>,
        token: Option<&Secret>,
        attempt: Duration,
    ) -> RequestBuilder<B> {
        // Only if it differs from the agent's own: ureq then builds its whole TLS configuration again.
        if attempt < self.attempt {
            request = request.config().timeout_global(Some(attempt)).build();
        }
        for (name, value) in self.headers(token) {
            request = request.header(name, value);
        }
        request
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
