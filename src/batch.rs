//! Reads many jobs by their IDs, over several connections at once.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Error, Result, anyhow};

use crate::api::Api;
use crate::client::MAX_CONNECTIONS;
use crate::error::{Kind, RequestError};
use crate::job::Job;
use crate::retry::{Deadline, MAX_RETRIES, Retry, backoff};

/// How many failures a message tells before it only counts them.
const TOLD: usize = 3;

/// Reads all these jobs, in the order of the IDs, or none.
pub fn read_all(api: &Api, ids: &[&str], deadline: &Deadline) -> Result<Vec<Job>> {
    let (mut jobs, mut errors) = (Vec::new(), Vec::new());
    for (id, result) in ids.iter().zip(read_each(api, ids, deadline)) {
        match result {
            Ok(job) => jobs.push(job),
            Err(error) => errors.push((*id, error)),
        }
    }
    if errors.is_empty() { Ok(jobs) } else { Err(could_not_read(ids.len(), &errors)) }
}

/// Reads each of these jobs, in the order of the IDs. One job's error keeps no other job from being read, unless it
/// concerns them all: then those that are left get the same error.
pub fn read_each(api: &Api, ids: &[&str], deadline: &Deadline) -> Vec<Result<Job, RequestError>> {
    let connections = MAX_CONNECTIONS.min(ids.len());
    let queue = Queue::new(ids.len(), connections);
    let work = || work(&queue, api, ids, deadline);
    thread::scope(|scope| {
        let spawn = |_: &usize| thread::Builder::new().spawn_scoped(scope, work).is_ok();
        // This thread works too: one job needs no other thread, and many jobs can do with those that start.
        let started = (1..connections).take_while(spawn).count() + 1;
        queue.remove_connections(connections.saturating_sub(started));
        work();
    });
    queue.into_results()
}

/// Reads jobs over one connection, until none is left or the connection is of no use.
fn work(queue: &Queue, api: &Api, ids: &[&str], deadline: &Deadline) {
    let mut failures = 0;
    while let Some((index, answered)) = queue.take() {
        match api.job(ids[index], deadline) {
            Err(error) if error.is_of_connection() => {
                let pause = backoff(failures, fastrand::f64());
                failures += 1;
                let is_hopeless = failures > MAX_RETRIES || error.retry == Retry::Never;
                if pause >= deadline.left() || is_hopeless && !api.client.has_succeeded() {
                    return queue.give_up(index, error.with_attempts(failures));
                }
                let has_timed_out = error.kind == Kind::TimedOut;
                queue.put_back(index, error, pause);
                // Where the server answers others meanwhile, it would keep the next job waiting too.
                if has_timed_out && queue.leave_to_others(answered) {
                    return;
                }
                queue.pause(pause);
            }
            Err(error) if error.ends_batch(api.client.has_succeeded()) => queue.end(index, error),
            result => {
                failures = 0;
                queue.done(index, result);
            }
        }
    }
}

/// The jobs that are to be read, and those that have been, by their place among the IDs.
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// Each with the time before which it is not read.
    waiting: VecDeque<(Instant, usize)>,
    results: Vec<Option<Result<Job, RequestError>>>,
    /// How often a job was sent and nothing came back.
    failures: Vec<u32>,
    /// How many jobs are being read at the moment.
    in_flight: usize,
    /// How many jobs have been answered.
    answered: usize,
    /// How many connections are left.
    connections: usize,
    /// What has ended the batch for the jobs without a result.
    ended_by: Option<RequestError>,
}

impl State {
    /// Whether no job is left, nor one that is being read and may still come back.
    fn is_over(&self) -> bool {
        self.ended_by.is_some() || self.waiting.is_empty() && self.in_flight == 0
    }
}

impl Queue {
    fn new(jobs: usize, connections: usize) -> Self {
        let now = Instant::now();
        let state = State {
            waiting: (0..jobs).map(|index| (now, index)).collect(),
            results: (0..jobs).map(|_| None).collect(),
            failures: vec![0; jobs],
            in_flight: 0,
            answered: 0,
            connections,
            ended_by: None,
        };
        Queue { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// The next job, and how many have been answered so far; none if no job is left. Waits while one may still come back.
    fn take(&self) -> Option<(usize, usize)> {
        let mut state = self.state();
        while !state.is_over() {
            let now = Instant::now();
            if let Some(position) = state.waiting.iter().position(|(due, _)| *due <= now) {
                let (_, index) = state.waiting.remove(position)?;
                state.in_flight += 1;
                return Some((index, state.answered));
            }
            let next = state.waiting.iter().map(|(due, _)| *due - now).min().unwrap_or(Duration::MAX);
            state = self.changed.wait_timeout(state, next).unwrap_or_else(PoisonError::into_inner).0;
        }
        None
    }

    fn done(&self, index: usize, result: Result<Job, RequestError>) {
        let mut state = self.state();
        state.results[index] = Some(result);
        state.answered += 1;
        state.in_flight -= 1;
        self.changed.notify_all();
    }

    /// Puts a job back for another connection: at once if it was not sent, else after the pause, and at most twice.
    fn put_back(&self, index: usize, error: RequestError, pause: Duration) {
        let mut state = self.state();
        state.in_flight -= 1;
        if error.kind == Kind::Connection {
            state.waiting.push_front((Instant::now(), index));
        } else {
            state.failures[index] += 1;
            let failures = state.failures[index];
            if failures > MAX_RETRIES {
                state.results[index] = Some(Err(error.with_attempts(failures)));
            } else {
                state.waiting.push_back((Instant::now() + pause, index));
            }
        }
        self.changed.notify_all();
    }

    /// Has one connection fewer, unless it is the last one or nothing was answered since.
    fn leave_to_others(&self, answered: usize) -> bool {
        let mut state = self.state();
        let leaves = state.connections > 1 && state.answered > answered;
        state.connections -= usize::from(leaves);
        leaves
    }

    /// Waits before a connection is tried again, but no longer than there is something to read.
    fn pause(&self, pause: Duration) {
        drop(self.changed.wait_timeout_while(self.state(), pause, |state| !state.is_over()));
    }

    /// Puts a job back for good, as this connection is of no use. The error of the last connection ends the batch.
    fn give_up(&self, index: usize, error: RequestError) {
        let mut state = self.state();
        state.waiting.push_front((Instant::now(), index));
        state.in_flight -= 1;
        state.connections -= 1;
        if state.connections == 0 {
            state.ended_by.get_or_insert(error);
        }
        self.changed.notify_all();
    }

    /// Ends the batch with the error of this job.
    fn end(&self, index: usize, error: RequestError) {
        self.state().ended_by.get_or_insert(error.clone());
        self.done(index, Err(error));
    }

    fn remove_connections(&self, count: usize) {
        self.state().connections -= count;
    }

    fn into_results(self) -> Vec<Result<Job, RequestError>> {
        let State { results, ended_by, .. } = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let left = || Err(ended_by.clone().expect("a batch ends early only with an error"));
        results.into_iter().map(|result| result.unwrap_or_else(left)).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why some of `count` jobs could not be read: each reason once, and advice once where it is the same for all.
pub fn could_not_read(count: usize, errors: &[(&str, RequestError)]) -> Error {
    if let ([(id, error)], 1) = (errors, count) {
        return anyhow!("could not read fine-tuning job {id}: {error}");
    }
    let mut reasons: Vec<(&RequestError, Vec<&str>)> = Vec::new();
    for (id, error) in errors {
        match reasons.iter_mut().find(|(reason, _)| reason.message == error.message) {
            Some((_, ids)) => ids.push(id),
            None => reasons.push((error, vec![id])),
        }
    }
    if let ([(reason, ids)], true) = (&reasons[..], errors.len() == count) {
        return anyhow!("could not read any of {} fine-tuning jobs: {reason}", ids.len());
    }
    let advice = &errors[0].1.advice;
    let is_shared = errors.iter().all(|(_, error)| error.advice == *advice);
    let told = reasons.iter().take(TOLD).map(|(error, ids)| {
        let reason = if is_shared { error.reason() } else { error.to_string() };
        format!("{}: {reason}", list(ids))
    });
    let told: Vec<_> = told.collect();
    let rest: usize = reasons.iter().skip(TOLD).map(|(_, ids)| ids.len()).sum();
    let rest = if rest > 0 { format!("; and {rest} more") } else { String::new() };
    let advice = if is_shared && !advice.is_empty() { format!("; {advice}") } else { String::new() };
    let how_many = if errors.len() == count { "any".into() } else { errors.len().to_string() };
    anyhow!("could not read {how_many} of {count} fine-tuning jobs: {}{rest}{advice}", told.join("; "))
}

fn list(ids: &[&str]) -> String {
    let rest = ids.len().saturating_sub(TOLD);
    let rest = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    format!("{}{rest}", ids.iter().take(TOLD).copied().collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(message: &str) -> RequestError {
        RequestError::new(message.into(), "do".into(), Retry::Never, Kind::Connection)
    }

    fn take(queue: &Queue) -> Option<usize> {
        queue.take().map(|(index, _)| index)
    }

    fn messages(queue: Queue) -> Vec<String> {
        queue.into_results().into_iter().map(|result| result.err().unwrap().reason()).collect()
    }

    #[test]
    fn a_job_goes_back_to_the_queue_while_another_connection_works() {
        let queue = Queue::new(2, 2);
        let first = take(&queue).unwrap();
        queue.give_up(first, error("refused"));
        assert_eq!((take(&queue), take(&queue)), (Some(0), Some(1)));
        queue.done(1, Err(error("other")));
        queue.give_up(0, error("refused"));
        assert_eq!(take(&queue), None);
        assert_eq!(messages(queue), ["refused", "other"]);
    }

    #[test]
    fn a_job_is_sent_three_times_without_a_response() {
        let queue = Queue::new(1, 1);
        for _ in 0..9 {
            queue.put_back(take(&queue).unwrap(), error("refused"), Duration::MAX);
        }
        for _ in 0..3 {
            let error = RequestError { kind: Kind::NoResponse, ..error("closed") };
            queue.put_back(take(&queue).unwrap(), error, Duration::from_millis(1));
        }
        assert_eq!(take(&queue), None);
        assert_eq!(messages(queue), ["closed (after 3 attempts)"]);
    }

    #[test]
    fn a_connection_leaves_while_others_are_answered() {
        let queue = Queue::new(3, 2);
        let ((first, answered), (second, _)) = (queue.take().unwrap(), queue.take().unwrap());
        assert!(!queue.leave_to_others(answered));
        queue.done(second, Err(error("answered")));
        assert!(queue.leave_to_others(answered));
        // The last one stays.
        assert!(!queue.leave_to_others(answered));
        queue.give_up(first, error("late"));
        assert_eq!(messages(queue), ["late", "answered", "late"]);
    }

    #[test]
    fn an_error_for_all_jobs_ends_the_batch() {
        let queue = Queue::new(3, 2);
        assert_eq!((take(&queue), take(&queue)), (Some(0), Some(1)));
        queue.end(0, error("no key"));
        // What was being read at the time is not read once more.
        queue.put_back(1, error("refused"), Duration::ZERO);
        assert_eq!(take(&queue), None);
        assert_eq!(messages(queue), ["no key"; 3]);
    }

    #[test]
    fn each_reason_is_told_once() {
        let line = |count: usize, errors: &[(&str, &str)]| {
            let errors: Vec<_> = errors.iter().map(|(id, message)| (*id, error(message))).collect();
            could_not_read(count, &errors).to_string()
        };
        assert_eq!(line(1, &[("a", "x")]), "could not read fine-tuning job a: x; do");
        assert_eq!(line(2, &[("a", "x"), ("b", "x")]), "could not read any of 2 fine-tuning jobs: x; do");
        assert_eq!(line(3, &[("a", "x"), ("b", "x")]), "could not read 2 of 3 fine-tuning jobs: a, b: x; do");
        assert_eq!(line(2, &[("a", "x"), ("b", "y")]), "could not read any of 2 fine-tuning jobs: a: x; b: y; do");
        let many: Vec<_> = (0..9)
            .map(|n| {
                (["a", "b", "c", "d", "e", "f", "g", "h", "i"][n], ["x", "1", "2", "3"][n.saturating_sub(4).min(3)])
            })
            .collect();
        assert_eq!(
            line(10, &many),
            "could not read 9 of 10 fine-tuning jobs: a, b, c and 2 more: x; f: 1; g: 2; and 2 more; do"
        );
    }
}
