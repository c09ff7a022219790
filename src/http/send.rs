//! The loop that every request of a run goes through, one or a thousand: it sends what `schedule` says is due, over several
//! connections at once, and is the only place that waits.

use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::client::{Client, MAX_CONNECTIONS, Request};
use super::deadline::Deadline;
use super::error::{Kind, RequestError, Retry};
use super::response::rate_limit_advice;
use super::retry::Situation;
use super::schedule::{Connection, Schedule, Step};
use crate::text::duration;

/// Sends one request.
pub(super) fn get<T: Send>(client: &Client, request: Request<T>, deadline: &Deadline) -> Result<T, RequestError> {
    get_all(client, &[request], deadline).remove(0)
}

/// Sends all of these, over several connections at once, and returns the results in the same order. One request's error
/// keeps no other from being sent, unless it concerns them all: then those that are left get the same error.
pub(super) fn get_all<T: Send>(
    client: &Client,
    requests: &[Request<T>],
    deadline: &Deadline,
) -> Vec<Result<T, RequestError>> {
    let connections = MAX_CONNECTIONS.min(requests.len());
    let schedule = Mutex::new(Schedule::new(requests.len(), connections, deadline, Instant::now()));
    let the_loop = Loop { client, requests, deadline, schedule, changed: Condvar::new() };
    let work = || the_loop.work();
    thread::scope(|scope| {
        let spawn = |_: &usize| thread::Builder::new().spawn_scoped(scope, work).is_ok();
        // This thread works too: one request needs no other thread, and many can do with those that start.
        let started = (1..connections).take_while(spawn).count() + 1;
        the_loop.schedule.lock().unwrap().connections -= connections.saturating_sub(started);
        work();
    });
    the_loop.schedule.into_inner().unwrap().into_results()
}

struct Loop<'a, T> {
    client: &'a Client<'a>,
    requests: &'a [Request<'a, T>],
    deadline: &'a Deadline,
    schedule: Mutex<Schedule<T>>,
    changed: Condvar,
}

impl<T> Loop<'_, T> {
    /// Sends requests over one connection, until none is left or the connection is given up.
    fn work(&self) {
        let Loop { client, requests, deadline, .. } = self;
        let mut connection = Connection::default();
        while let Some(index) = self.take(&mut connection) {
            let sent = Instant::now();
            match client.attempt(&requests[index], deadline) {
                Ok(answer) => {
                    client.pacing.accepted(Instant::now());
                    client.note_success();
                    self.schedule.lock().unwrap().succeeded(index, &mut connection, answer);
                }
                Err(error) => {
                    let now = Instant::now();
                    if let Retry::RateLimited(pause) = error.retry {
                        client.pacing.rejected(sent, now, pause, fastrand::f64());
                    }
                    let situation = Situation {
                        has_succeeded: client.has_succeeded(),
                        held_back: client.pacing.delay(now),
                        jitter: fastrand::f64(),
                        ..Situation::default()
                    };
                    self.schedule.lock().unwrap().failed(index, &mut connection, error, situation, now);
                }
            }
            self.changed.notify_all();
        }
    }

    /// The request that a connection sends next; `None` if there is none. Waits while one may still come back.
    fn take(&self, connection: &mut Connection) -> Option<usize> {
        let mut schedule = self.schedule.lock().unwrap();
        loop {
            let pause = match schedule.next(connection, &self.client.pacing, Instant::now()) {
                Step::Send(index) => return Some(index),
                Step::End => return None,
                Step::Pause(pause) => pause,
                Step::OutOfTime(held_back) => {
                    let error = out_of_time(self.client.endpoint().host(), self.deadline, held_back);
                    schedule.end_waiting(&error);
                    continue;
                }
            };
            schedule = self.changed.wait_timeout(schedule, pause).unwrap().0;
        }
    }
}

/// Why a request was never sent: there was no time, or the rate limit would have held it back for too long.
fn out_of_time(host: &str, deadline: &Deadline, held_back: Option<Duration>) -> RequestError {
    let Some(pause) = held_back else {
        let message = format!("{} ended before the request was sent", deadline.name());
        return RequestError::new(message, deadline.advice(), Retry::Later, Kind::Response);
    };
    let message = format!("{host} limits the request rate");
    let advice = rate_limit_advice(Some(pause), deadline);
    let note = format!("the next request may be sent in {}, later than {} allows", duration(pause), deadline.key);
    RequestError::new(message, advice, Retry::RateLimited(Some(pause)), Kind::Response).with_note(Some(note))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::{Value, json};
    use socket2::{Domain, Socket, Type};

    use super::*;
    use crate::endpoint::{Endpoint, Proxy};
    use crate::http::resolver::Resolver;
    use crate::http::test_server;

    const TIMEOUT: Duration = Duration::from_secs(60);

    fn path() -> Request<'static, Value> {
        Request::get("x".into(), Vec::new(), &|body| Ok(serde_json::from_slice(body)?))
    }

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
        assert!(get(&client, path(), &Deadline::timeout(TIMEOUT)).is_ok());
    }

    #[test]
    fn any_error_of_an_address_leads_to_the_next() {
        // A link-local address without its link is invalid (EINVAL), or there is no IPv6 at all.
        let invalid: SocketAddr = "[fe80::1]:80".parse().unwrap();
        let answering = test_server::start(|_| json!({}));
        let endpoint = test_server::endpoint("two.test");
        let client = Client::with_resolver(&endpoint, TIMEOUT, Resolver::with(move |_| Ok(vec![invalid, answering])));
        assert!(get(&client, path(), &Deadline::timeout(TIMEOUT)).is_ok());
    }

    #[test]
    fn a_retry_takes_another_address() {
        // The system accepts, and nobody answers, be it in HTTP or in TLS.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let silent_address = silent.local_addr().unwrap();
        let get_from = |address: SocketAddr, endpoint: &Endpoint| {
            let timeout = Duration::from_secs(6);
            let resolver = Resolver::with(move |_| Ok(vec![silent_address, address]));
            let client = Client::with_resolver(endpoint, timeout, resolver);
            get(&client, path(), &Deadline::timeout(timeout))
        };
        let answering = test_server::start(|_| json!({}));
        assert!(get_from(answering, &test_server::endpoint("two.test")).is_ok());

        let without_tls = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = without_tls.local_addr().unwrap();
        thread::spawn(move || {
            for mut stream in without_tls.incoming().flatten() {
                stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").ok();
            }
        });
        let error = get_from(address, &test_server::endpoint_at("https://two.test")).unwrap_err();
        assert!(error.message.ends_with(" it does not speak TLS"), "{error}");
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
            assert!(get(&client, path(), &Deadline::timeout(TIMEOUT)).is_ok());
        }
        assert_eq!(lookups.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn more_addresses_than_ureq_takes_are_no_error() {
        let answering = test_server::start(|_| json!({}));
        let endpoint = test_server::endpoint("many.test");
        let client = Client::with_resolver(&endpoint, TIMEOUT, Resolver::with(move |_| Ok(vec![answering; 17])));
        assert!(get(&client, path(), &Deadline::timeout(TIMEOUT)).is_ok());
    }

    #[test]
    fn a_name_that_is_not_found_is_reported_with_where_it_came_from() {
        let mut endpoint = test_server::endpoint("name.test");
        let line = |endpoint: &Endpoint| {
            let resolver = Resolver::with(|_| Err(std::io::Error::other("no such host")));
            let client = Client::with_resolver(endpoint, TIMEOUT, resolver);
            get(&client, path(), &Deadline::timeout(TIMEOUT)).unwrap_err().to_string()
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
        let error = get(&client, path(), &Deadline::timeout(Duration::ZERO)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the timeout of 0s ended before the request was sent; allow more time with timeout"
        );
    }
}
