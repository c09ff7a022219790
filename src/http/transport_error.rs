//! Explains what goes wrong before a response is complete: names, connections, proxies, TLS, timeouts, broken HTTP.

use std::io::ErrorKind;
use std::time::Duration;

use ureq::Error;

use super::connector::{ConnectError, Step};
use super::deadline::Deadline;
use super::error::{Kind, RequestError, Retry};
use super::resolver::LookupError;
use super::{proxy_error, tls_error};
use crate::endpoint::{Endpoint, Proxy};
use crate::text::duration;

/// The longest body that is read, in bytes.
pub(super) const MAX_BODY: u64 = 10 * 1024 * 1024;
/// The longest headers, in bytes. Less than ureq's input buffer: headers that fill it look like a connection that was
/// closed.
pub(super) const MAX_HEADERS: usize = 16 * 1024;

/// What one attempt was allowed, for messages.
#[derive(Clone, Copy)]
pub(super) struct Limits<'a> {
    /// For the connection, TLS and the lookup of a proxy's name included.
    pub(super) connect: Duration,
    /// For the whole attempt.
    pub(super) attempt: Duration,
    /// For all attempts together.
    pub(super) deadline: &'a Deadline,
}

impl Limits<'_> {
    /// What a time limit was, for messages. The user sets the time of all attempts together, not that of one.
    fn within(&self, limit: Duration) -> String {
        if limit < self.attempt {
            format!("within {}", duration(limit))
        } else {
            format!("within {}", self.deadline.name())
        }
    }
}

/// Explains an error of ureq's. `is_body` if the headers of the response had come.
pub(super) fn explain(error: &Error, endpoint: &Endpoint, limits: Limits, is_body: bool) -> RequestError {
    if let Error::Other(inner) = error {
        if let Some(error) = inner.downcast_ref::<LookupError>() {
            return lookup(error, endpoint, limits);
        }
        if let Some(error) = inner.downcast_ref::<ConnectError>() {
            return connection(error, endpoint, limits);
        }
    }
    // In TLS 1.3, a server says only after the handshake that it wants a client certificate.
    if let Some(error) = rustls_error(error).filter(|_| !is_body) {
        return tls_error::explain(error, endpoint.host(), endpoint.base_url.name, endpoint);
    }
    response(error, endpoint, limits, is_body)
}

/// Who was to be connected to, and the query key or the variable that says so: the proxy if `is_direct` and there is one,
/// else the API, perhaps through it.
fn peer(endpoint: &Endpoint, is_direct: bool) -> (String, String) {
    let (host, base_url) = (endpoint.host(), endpoint.base_url.name);
    let Some(Proxy { settings, variable }) = &endpoint.proxy else {
        return (host.to_owned(), base_url.to_owned());
    };
    let proxy = format!("the proxy {}:{}", settings.host(), settings.port());
    if is_direct {
        (proxy, variable.clone())
    } else {
        (format!("{host} through {proxy}"), format!("{base_url} and the proxy in {variable}"))
    }
}

fn lookup(error: &LookupError, endpoint: &Endpoint, limits: Limits) -> RequestError {
    let (peer, source) = peer(endpoint, true);
    let reason = match error {
        LookupError::TimedOut if endpoint.proxy.is_some() => limits.within(limits.connect),
        LookupError::TimedOut => limits.within(limits.attempt),
        LookupError::Failed(reason) => format!("({reason})"),
    };
    no_connection(format!("could not resolve the name of {peer} {reason}"), format!("check {source} and the network"))
}

fn connection(error: &ConnectError, endpoint: &Endpoint, limits: Limits) -> RequestError {
    let is_direct = error.is_direct || error.step == Step::Proxy;
    let (peer, source) = peer(endpoint, is_direct);
    match rustls_error(&error.error) {
        // It is no fault of the tunnel's.
        Some(error @ rustls::Error::InvalidCertificate(_)) if !is_direct => {
            return tls_error::explain(error, endpoint.host(), endpoint.base_url.name, endpoint);
        }
        Some(error) => return tls_error::explain(error, &peer, &source, endpoint),
        None => {}
    }
    let message = match (error.step, &error.error) {
        (Step::Proxy, error) => return proxy(error, endpoint, limits),
        (Step::Tls, Error::Timeout(_)) => {
            format!("the TLS handshake with {peer} did not complete {}", limits.within(limits.connect))
        }
        (Step::Tls, error) => format!("the TLS handshake with {peer} failed: {}", reason(error)),
        (Step::Tcp, Error::Timeout(_)) => format!("no connection to {peer} {}", limits.within(limits.connect)),
        (Step::Tcp, Error::Io(error)) if error.kind() == ErrorKind::ConnectionRefused => {
            format!("{peer} refused the connection")
        }
        (Step::Tcp, error) => format!("no connection to {peer}: {}", reason(error)),
    };
    let comma = if is_direct { "" } else { "," };
    no_connection(message, format!("check {source}{comma} and the network"))
}

/// What goes wrong between the connection to the proxy and the one through it.
fn proxy(error: &Error, endpoint: &Endpoint, limits: Limits) -> RequestError {
    let (peer, source) = peer(endpoint, true);
    let host = endpoint.host();
    if let Error::ConnectProxyFailed(text) = error
        && let Some(refusal) = proxy_error::refusal(text, &peer, &source, endpoint)
    {
        return refusal;
    }
    let form = format!("check the scheme and the port in {source}");
    let (message, advice) = match error {
        Error::Timeout(_) => (
            format!("{peer} did not connect to {host} {}", limits.within(limits.connect)),
            format!("check that the proxy can reach it, and the scheme and the port in {source}"),
        ),
        Error::Protocol(error) => (format!("{peer} {}", broken_http(&error.to_string())), form),
        error => (format!("no answer from {peer}: {}", reason(error)), form),
    };
    no_connection(message, advice)
}

/// What is wrong with a response, by what ureq says of it.
fn broken_http(error: &str) -> String {
    let broken = [
        ("conflicting content-length", "two Content-Length lines that differ"),
        ("content-length header not a number", "a Content-Length that is no number"),
        ("too many headers", "too many header lines"),
        ("invalid header name", "a header line that has no valid name"),
        ("invalid header value", "a header line that has no valid value"),
        ("chunk", "a body whose chunks are broken"),
    ];
    let broken = broken.iter().find(|(words, _)| error.contains(words));
    broken.map_or("does not speak HTTP".into(), |(_, what)| format!("sent a response with {what}"))
}

fn response(error: &Error, endpoint: &Endpoint, limits: Limits, is_body: bool) -> RequestError {
    let (host, source) = peer(endpoint, false);
    let what = if is_body { "only part of a response" } else { "no response" };
    let (message, advice, retry) = match error {
        Error::Timeout(_) => (
            format!("{what} from {host} {}", limits.within(limits.attempt)),
            limits.deadline.advice(),
            Retry::After(None),
        ),
        Error::LargeResponseHeader(..) => (
            format!("the headers of the response from {host} are over {} KiB", MAX_HEADERS >> 10),
            format!("check {source}"),
            Retry::Never,
        ),
        Error::BodyExceedsLimit(_) => {
            (format!("the response from {host} is over {} MiB", MAX_BODY >> 20), String::new(), Retry::Never)
        }
        Error::Protocol(error) => {
            (format!("{host} {}", broken_http(&error.to_string())), format!("check {source}"), Retry::Later)
        }
        error => (
            format!("{what} from {host}: {}", reason(error)),
            format!("check the scheme and the port in {source}, or try again later"),
            Retry::After(None),
        ),
    };
    let kind = match error {
        _ if is_body || retry != Retry::After(None) => Kind::Response,
        Error::Timeout(_) => Kind::TimedOut,
        _ => Kind::NoResponse,
    };
    RequestError::new(message, advice, retry, kind)
}

fn no_connection(message: String, advice: String) -> RequestError {
    RequestError::new(message, advice, Retry::After(None), Kind::Connection)
}

/// TLS errors come as they are, or inside an I/O error.
fn rustls_error(error: &Error) -> Option<&rustls::Error> {
    match error {
        Error::Rustls(error) => Some(error),
        Error::Io(error) => error.get_ref()?.downcast_ref(),
        _ => None,
    }
}

/// The system's own words, or this program's for an error that is the same on every system.
fn reason(error: &Error) -> String {
    match error {
        Error::ConnectProxyFailed(_) => "the connection was closed".into(),
        Error::Io(error) => match error.kind() {
            ErrorKind::UnexpectedEof => "the connection was closed".into(),
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
                "the connection was reset".into()
            }
            // Those of a library are in an error of its own.
            _ if error.get_ref().is_none() => error.to_string(),
            _ => "the connection broke".into(),
        },
        _ => "the connection broke".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::super::test_server;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn messages_name_the_time_of_all_attempts_together() {
        let within = |connect, attempt| {
            let deadline = Deadline::timeout(SECOND * 60);
            let limits = Limits { connect: SECOND * connect, attempt: SECOND * attempt, deadline: &deadline };
            [limits.within(limits.connect), limits.within(limits.attempt)]
        };
        assert_eq!(within(5, 20), ["within 5s", "within the timeout of 1m"]);
        assert_eq!(within(1, 1), ["within the timeout of 1m"; 2]);
    }

    #[test]
    fn errors_after_the_handshake_have_no_librarys_words() {
        let endpoint = test_server::endpoint("a.test");
        let deadline = Deadline::timeout(SECOND);
        let limits = Limits { connect: SECOND, attempt: SECOND, deadline: &deadline };
        let tls = || Error::Io(io::Error::other(rustls::Error::DecryptError));
        for (error, is_body, expected, kind) in [
            (tls(), true, "only part of a response from a.test: the connection broke", Kind::Response),
            (tls(), false, "the TLS handshake with a.test failed: it violates the TLS protocol", Kind::Connection),
            (
                Error::Io(ErrorKind::BrokenPipe.into()),
                false,
                "no response from a.test: the connection was reset",
                Kind::NoResponse,
            ),
            (Error::ConnectionFailed, false, "no response from a.test: the connection broke", Kind::NoResponse),
        ] {
            let error = explain(&error, &endpoint, limits, is_body);
            assert_eq!((error.message.as_str(), error.kind, error.retry), (expected, kind, Retry::After(None)));
        }
    }
}
