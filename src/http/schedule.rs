//! When each request of a batch is sent, and over which connection. A request has a time before which it is not sent. What
//! goes wrong only moves that time, or ends the request with the last real reason: `retry` decides which. No clock is read
//! here, and no socket.

use std::collections::BTreeSet;
use std::mem;
use std::time::{Duration, Instant};

use super::deadline::Deadline;
use super::error::{Kind, RequestError, Retry};
use super::pacing::Pacing;
use super::retry::{self, Counts, Next, NextRequest, Situation};
use crate::text::duration;

/// What has become of a connection.
#[derive(Default)]
pub(super) struct Connection {
    /// How often in a row it failed.
    failures: u32,
    /// When its pause ends; `None` if it has had none.
    not_before: Option<Instant>,
    /// How many requests had been answered when it took its last one.
    answered: usize,
    is_given_up: bool,
}

/// What a connection does next.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    Send(usize),
    Pause(Duration),
    /// No request can be sent before the deadline, perhaps because the rate limit holds them back for so long.
    OutOfTime(Option<Duration>),
    End,
}

/// The requests that are to be sent, and what has become of the others, by their place in the batch.
pub(super) struct Schedule<T> {
    /// Those that are not under way, by the time before which each is not sent.
    waiting: BTreeSet<(Instant, usize)>,
    under_way: usize,
    requests: Vec<Tried<T>>,
    /// How many responses have come, whatever their status.
    answered: usize,
    /// How many connections are left.
    pub(super) connections: usize,
    /// What has ended the batch for the requests without a result.
    ended_by: Option<RequestError>,
    deadline: Deadline,
}

/// What has become of a request.
struct Tried<T> {
    /// The time before which it is not sent.
    due: Instant,
    counts: Counts,
    /// Why the last attempt failed.
    error: Option<RequestError>,
    result: Option<Result<T, RequestError>>,
}

impl<T> Schedule<T> {
    pub(super) fn new(requests: usize, connections: usize, deadline: &Deadline, now: Instant) -> Self {
        Schedule {
            waiting: (0..requests).map(|index| (now, index)).collect(),
            under_way: 0,
            requests: (0..requests)
                .map(|_| Tried { due: now, counts: Counts::default(), error: None, result: None })
                .collect(),
            answered: 0,
            connections,
            ended_by: None,
            deadline: *deadline,
        }
    }

    /// What a connection does at this time. A request that it sends counts as under way from then on.
    pub(super) fn next(&mut self, connection: &mut Connection, pacing: &Pacing, now: Instant) -> Step {
        if connection.is_given_up || self.ended_by.is_some() {
            return Step::End;
        }
        let left = self.deadline.left(now);
        let Some(&(due, index)) = self.waiting.first() else {
            // A request that is under way may come back.
            return if self.under_way == 0 { Step::End } else { Step::Pause(left) };
        };
        if left.is_zero() {
            return Step::OutOfTime(None);
        }
        let due = connection.not_before.map_or(due, |not_before| not_before.max(due));
        if due > now {
            return Step::Pause(due - now);
        }
        match pacing.take_turn(now) {
            Err(pause) if pause < left => return Step::Pause(pause),
            Err(pause) => return Step::OutOfTime(Some(pause)),
            Ok(()) => {}
        }
        self.waiting.pop_first();
        self.under_way += 1;
        connection.answered = self.answered;
        Step::Send(index)
    }

    pub(super) fn succeeded(&mut self, index: usize, connection: &mut Connection, answer: T) {
        self.under_way -= 1;
        self.answered += 1;
        connection.failures = 0;
        self.requests[index].result = Some(Ok(answer));
    }

    /// `situation` is what the schedule does not know itself.
    pub(super) fn failed(
        &mut self,
        index: usize,
        connection: &mut Connection,
        error: RequestError,
        situation: Situation,
        now: Instant,
    ) {
        self.under_way -= 1;
        let tried = &mut self.requests[index];
        let situation = Situation {
            counts: tried.counts,
            failures: connection.failures,
            any_answered: self.answered > 0,
            others_work: self.connections > 1 && self.answered > connection.answered,
            left: self.deadline.left(now),
            ..situation
        };
        let next = retry::after(&error, &situation);
        tried.counts.add(&error);
        match error.kind {
            Kind::Stale => {}
            kind if kind.is_answer() => (self.answered, connection.failures) = (self.answered + 1, 0),
            _ => connection.failures += 1,
        }
        // How often other connections took the same request depends on timing.
        let attempts = if error.kind == Kind::Connection { connection.failures } else { tried.counts.attempts };
        let error = with_attempts(error, attempts, &next, &self.deadline);
        match next.connection {
            Some(pause) => connection.not_before = Some(now + pause),
            None => {
                connection.is_given_up = true;
                self.connections -= 1;
            }
        }
        if next.request == NextRequest::EndAll || self.connections == 0 {
            self.ended_by.get_or_insert_with(|| error.clone());
        }
        match next.request {
            NextRequest::Retry(pause) => {
                tried.error = Some(error);
                // Without a pause it keeps its place before those that were not tried yet.
                tried.due = if pause.is_zero() { tried.due } else { now + pause };
                self.waiting.insert((tried.due, index));
            }
            NextRequest::End | NextRequest::EndAll => tried.result = Some(Err(error)),
        }
    }

    /// Ends the requests that are not under way: each with the reason why its last attempt failed, else with this one.
    pub(super) fn end_waiting(&mut self, error: &RequestError) {
        for (_, index) in mem::take(&mut self.waiting) {
            let tried = &mut self.requests[index];
            tried.result = Some(Err(tried.error.take().unwrap_or_else(|| error.clone())));
        }
    }

    pub(super) fn into_results(self) -> Vec<Result<T, RequestError>> {
        let left = || Err(self.ended_by.clone().expect("a batch ends early only with an error"));
        self.requests.into_iter().map(|tried| tried.result.unwrap_or_else(left)).collect()
    }
}

/// Notes how often the request was sent, or for how long a server asked to wait that was asked once.
fn with_attempts(error: RequestError, attempts: u32, next: &Next, deadline: &Deadline) -> RequestError {
    let is_over = next.request == NextRequest::End || next.connection.is_none();
    let note = match (attempts, error.retry) {
        // It counts the attempts of the exchange.
        _ if matches!(error.kind, Kind::TokenExchange { .. }) => None,
        (2.., _) => Some(format!("after {attempts} attempts")),
        (_, Retry::After(Some(pause)) | Retry::RateLimited(Some(pause))) if is_over => {
            Some(format!("Retry-After is {}, more than {} leaves", duration(pause), deadline.key))
        }
        _ => None,
    };
    error.with_note(note)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;

    type Answer = Result<Value, RequestError>;

    const TIMEOUT: Duration = Duration::from_secs(60);

    /// A request as a server of the simulation sees it.
    struct Sent {
        index: usize,
        connection: usize,
        /// Since the start.
        at: Duration,
    }

    struct Played {
        results: Vec<Answer>,
        sent: Vec<Sent>,
        /// How long it took.
        end: Duration,
    }

    impl Played {
        fn errors(self) -> Vec<String> {
            self.results.into_iter().map(|result| result.err().unwrap().reason()).collect()
        }

        /// When the request was sent, in milliseconds.
        fn times(&self, index: usize) -> Vec<u128> {
            self.sent.iter().filter(|sent| sent.index == index).map(|sent| sent.at.as_millis()).collect()
        }
    }

    /// Plays a batch without sockets, with a clock that jumps from one event to the next. The server says how long it takes
    /// for its answer, in milliseconds.
    fn play(
        requests_and_connections: (usize, usize),
        timeout: Duration,
        mut server: impl FnMut(&Sent) -> (u64, Answer),
    ) -> Played {
        play_runs(1, requests_and_connections, timeout, |sent| {
            let (millis, result) = server(sent);
            (Duration::from_millis(millis), result)
        })
        .remove(0)
    }

    /// A run of the simulation.
    struct Run {
        pacing: Pacing,
        schedule: Schedule<Value>,
        connections: Vec<Connection>,
        /// What is under way, by the time of its end and its connection.
        answers: BTreeMap<(Instant, usize), (usize, Instant, Answer)>,
        has_succeeded: bool,
        sent: Vec<Sent>,
        end: Instant,
    }

    /// Plays several runs that start together, with one server.
    fn play_runs(
        runs: usize,
        (requests, connections): (usize, usize),
        timeout: Duration,
        mut server: impl FnMut(&Sent) -> (Duration, Answer),
    ) -> Vec<Played> {
        let start = Instant::now();
        let new_run = |_| Run {
            pacing: Pacing::default(),
            schedule: Schedule::new(requests, connections, &Deadline::from(start, timeout), start),
            connections: (0..connections).map(|_| Connection::default()).collect(),
            answers: BTreeMap::new(),
            has_succeeded: false,
            sent: Vec::new(),
            end: start,
        };
        let mut runs: Vec<Run> = (0..runs).map(new_run).collect();
        let mut random = fastrand::Rng::with_seed(1);
        let mut now = start;
        loop {
            let next_events: Vec<_> = runs.iter_mut().map(|run| run.send(start, now, &mut server)).collect();
            let Some(next_event) = next_events.into_iter().flatten().min() else {
                let played =
                    |run: Run| Played { results: run.schedule.into_results(), sent: run.sent, end: run.end - start };
                return runs.into_iter().map(played).collect();
            };
            now = next_event;
            runs.iter_mut().for_each(|run| run.receive(now, &mut random));
        }
    }

    impl Run {
        /// Sends what may be sent now, and returns the time of the next event.
        fn send(
            &mut self,
            start: Instant,
            now: Instant,
            mut server: impl FnMut(&Sent) -> (Duration, Answer),
        ) -> Option<Instant> {
            let mut events = Vec::new();
            for (number, connection) in self.connections.iter_mut().enumerate() {
                if self.answers.keys().any(|(_, busy)| *busy == number) {
                    continue;
                }
                match self.schedule.next(connection, &self.pacing, now) {
                    Step::Send(index) => {
                        self.sent.push(Sent { index, connection: number, at: now - start });
                        let (takes, result) = server(self.sent.last().unwrap());
                        let at = (now + takes).min(now + self.schedule.deadline.left(now));
                        self.answers.insert((at, number), (index, now, result));
                    }
                    Step::Pause(pause) => events.push(now + pause),
                    Step::OutOfTime(held_back) => {
                        self.schedule.end_waiting(&error(&format!("held back: {held_back:?}"), Kind::Response));
                    }
                    Step::End => {}
                }
            }
            self.answers.keys().map(|(at, _)| *at).chain(events).min()
        }

        /// Receives what has come by now.
        fn receive(&mut self, now: Instant, random: &mut fastrand::Rng) {
            while let Some(entry) = self.answers.first_entry().filter(|entry| entry.key().0 <= now) {
                let ((_, number), (index, sent_at, result)) = entry.remove_entry();
                let connection = &mut self.connections[number];
                self.end = now;
                match result {
                    Ok(answer) => {
                        self.pacing.accepted(now);
                        self.has_succeeded = true;
                        self.schedule.succeeded(index, connection, answer);
                    }
                    Err(error) => {
                        if let Retry::RateLimited(pause) = error.retry {
                            self.pacing.rejected(sent_at, now, pause, random.f64());
                        }
                        let held_back = self.pacing.delay(now);
                        let situation =
                            Situation { has_succeeded: self.has_succeeded, held_back, ..Situation::default() };
                        self.schedule.failed(index, connection, error, situation, now);
                    }
                }
            }
        }
    }

    fn error(message: &str, kind: Kind) -> RequestError {
        RequestError::new(message.into(), "do".into(), Retry::After(None), kind)
    }

    fn refused() -> Answer {
        Err(error("refused", Kind::Connection))
    }

    #[test]
    fn one_request_is_sent_three_times() {
        for (kind, millis) in [(Kind::Connection, 0), (Kind::NoResponse, 0), (Kind::TimedOut, 0), (Kind::Response, 0)] {
            let played = play((1, 1), TIMEOUT, |_| (millis, Err(error("broken", kind))));
            assert_eq!(played.times(0), [0, 500, 1500], "{kind:?}");
            assert_eq!(played.errors(), ["broken (after 3 attempts)"], "{kind:?}");
        }
    }

    #[test]
    fn a_request_that_gets_no_response_keeps_its_own_reason() {
        // Four requests are answered at once, one never is.
        let played = play((5, 5), Duration::from_secs(6), |sent| match sent.index {
            4 => (2000, Err(error("no response", Kind::TimedOut))),
            _ => (10, Ok(Value::Null)),
        });
        assert_eq!(played.times(4), [0, 2500, 5500]);
        assert_eq!(played.results[4].as_ref().unwrap_err().reason(), "no response (after 3 attempts)");
        assert!(played.results[..4].iter().all(Result::is_ok));
    }

    #[test]
    fn connections_that_work_take_the_requests_of_those_that_do_not() {
        // The server accepts one connection, and refuses or ignores the others.
        for (kind, millis) in [(Kind::Connection, 0), (Kind::TimedOut, 20_000)] {
            let played = play((100, 4), TIMEOUT, |sent| match sent.connection {
                0 => (100, Ok(Value::Null)),
                _ => (millis, Err(error("refused", kind))),
            });
            assert!(played.results.iter().all(Result::is_ok), "{kind:?}");
            let others = played.sent.iter().filter(|sent| sent.connection != 0).count();
            assert!(others <= 3 * 6, "{kind:?}: {others} requests over connections that do not work");
        }
        // It recovers.
        let played = play((1000, 4), TIMEOUT, |sent| match sent.connection {
            1.. if sent.at.as_millis() < 1000 => (0, refused()),
            _ => (100, Ok(Value::Null)),
        });
        assert!(played.results.iter().all(Result::is_ok) && played.end < Duration::from_secs(30), "{:?}", played.end);
    }

    #[test]
    fn a_batch_ends_if_no_connection_can_be_made() {
        let played = play((100, 4), TIMEOUT, |_| (0, refused()));
        assert_eq!((played.sent.len(), played.end.as_millis()), (4 * 3, 1500));
        assert_eq!(played.errors(), ["refused (after 3 attempts)"; 100]);
    }

    #[test]
    fn an_error_for_all_requests_ends_the_batch() {
        let refusal = || error("no key", Kind::Status { status: 401, from_api: true });
        let played = play((9, 2), TIMEOUT, |sent| match sent.index {
            0 => (10, Err(RequestError { retry: Retry::Never, ..refusal() })),
            // It was under way, and is not sent again.
            _ => (20, refused()),
        });
        assert_eq!(played.sent.len(), 2);
        assert_eq!(played.errors(), ["no key"; 9]);
    }

    #[test]
    fn a_new_token_is_tried_at_once_and_twice_at_most() {
        let unauthorized =
            |retry| RequestError { retry, ..error("no token", Kind::Status { status: 401, from_api: true }) };
        let played = play((3, 3), TIMEOUT, |sent| match (sent.index, sent.at.as_millis()) {
            (0, _) | (_, 0) => (10, Err(unauthorized(Retry::NewToken))),
            _ => (10, Ok(Value::Null)),
        });
        assert_eq!((played.times(0), played.times(1)), (vec![0, 10, 20], vec![0, 10]));
        let error = played.results[0].as_ref().unwrap_err();
        assert_eq!(error.reason(), "no token (after 3 attempts)");
        assert!(played.results[1..].iter().all(Result::is_ok));
    }

    #[test]
    fn a_failed_token_exchange_ends_the_batch() {
        let failed = || error("no exchange", Kind::TokenExchange { is_refused: false });
        let played = play((9, 2), TIMEOUT, |_| (10, Err(failed())));
        assert_eq!((played.sent.len(), played.end.as_millis()), (2, 10));
        assert_eq!(played.errors(), ["no exchange"; 9]);
    }

    #[test]
    fn a_closed_connection_costs_no_attempt() {
        let played = play((1, 1), TIMEOUT, |sent| match sent.at.as_millis() {
            0..5 => (1, Err(error("closed", Kind::Stale))),
            _ => (1, Err(error("broken", Kind::Response))),
        });
        assert_eq!(played.times(0), [0, 1, 2, 3, 4, 5, 506, 1507]);
        assert_eq!(played.errors(), ["broken (after 3 attempts)"]);
    }

    #[test]
    fn a_rate_limit_that_outlasts_the_deadline_ends_all_with_it() {
        let pause = Duration::from_secs(90);
        let limited = || RequestError { retry: Retry::RateLimited(Some(pause)), ..error("limited", Kind::Response) };
        let played = play((3, 1), TIMEOUT, |_| (0, Err(limited())));
        assert_eq!(played.sent.len(), 1);
        let rest = "held back: Some(90s)";
        assert_eq!(played.errors(), ["limited (Retry-After is 1m30s, more than timeout leaves)", rest, rest]);
    }

    /// A server that accepts one request in each `interval` and rejects the others, as nginx's `limit_req` does without
    /// `burst`.
    fn limited(
        interval: Duration,
        named: Option<Duration>,
        round_trip: Duration,
    ) -> impl FnMut(&Sent) -> (Duration, Answer) {
        let (mut accepted_at, mut random) = (None, fastrand::Rng::with_seed(2));
        move |sent| {
            // What threads and networks add.
            let jitter = Duration::from_micros(random.u64(0..400));
            let at = sent.at + jitter;
            let is_accepted = accepted_at.is_none_or(|accepted_at| at >= accepted_at + interval);
            let limited = || RequestError { retry: Retry::RateLimited(named), ..error("limited", Kind::Response) };
            if is_accepted {
                accepted_at = Some(at);
            }
            (round_trip + jitter, if is_accepted { Ok(Value::Null) } else { Err(limited()) })
        }
    }

    #[test]
    fn a_rate_limit_is_found_and_kept_to() {
        let millis = Duration::from_millis;
        for (requests, a_second, round_trip, named, seconds, rejections) in [
            // With the goals, of which the limit itself takes 6 and 5 seconds.
            (300, 50, millis(0), None, 10, 100),
            (1000, 200, millis(0), None, 8, 333),
            (300, 50, millis(50), None, 10, 100),
            (1000, 200, millis(50), None, 8, 333),
            // The limit itself takes 10, 30, 6 and 10 seconds.
            (100, 10, millis(20), None, 20, 150),
            (60, 2, millis(20), None, 50, 180),
            (300, 50, millis(20), Some(millis(20)), 12, 150),
            (1000, 100, millis(20), Some(millis(1000)), 40, 333),
        ] {
            let server = limited(Duration::from_secs(1) / a_second, named, round_trip);
            let played = play_runs(1, (requests, 32.min(requests)), TIMEOUT, server).remove(0);
            let rejected = played.sent.len() - requests;
            let figures = format!("{requests} at {a_second}/s, {round_trip:?}: {:?}, {rejected} rejected", played.end);
            assert!(played.results.iter().all(Result::is_ok), "{figures}");
            assert!(played.end <= Duration::from_secs(seconds) && rejected <= rejections, "{figures}");
        }
    }

    #[test]
    fn several_runs_share_a_rate_limit() {
        // The last: processes that read one job each.
        for (runs, requests, seconds) in [(5, 200, 50), (2, 200, 25), (100, 1, 20)] {
            let server = limited(Duration::from_millis(20), None, Duration::ZERO);
            let played = play_runs(runs, (requests, 32.min(requests)), TIMEOUT * 2, server);
            let end = played.iter().map(|played| played.end).max().unwrap();
            assert!(played.iter().all(|played| played.results.iter().all(Result::is_ok)));
            assert!(end <= Duration::from_secs(seconds), "{runs} runs of {requests}: {end:?}");
        }
    }

    #[test]
    fn a_job_that_always_gets_503_ends_after_12_attempts() {
        let unavailable =
            |retry| RequestError { retry, ..error("unavailable", Kind::Status { status: 503, from_api: false }) };
        let played = play((20, 4), TIMEOUT, |sent| match sent.index {
            // The first one came before any success.
            7 if sent.at.is_zero() => (1, Err(unavailable(Retry::After(None)))),
            7 => (1, Err(unavailable(Retry::RateLimited(None)))),
            _ => (5, Ok(Value::Null)),
        });
        assert_eq!(played.times(7).len(), 12);
        assert_eq!(played.results[7].as_ref().unwrap_err().reason(), "unavailable (after 12 attempts)");
        assert_eq!(played.results.iter().filter(|result| result.is_ok()).count(), 19);
    }
}
