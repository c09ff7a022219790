//! Polls jobs until they are final, and tolerates errors in between.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Error, Result, anyhow, ensure};

use super::batch;
use super::progress::Progress;
use crate::http::{Api, Deadline, MAX_CONNECTIONS, RequestError, Retry};
use crate::job::Job;
use crate::text::stdout::sleep_while_read;
use crate::text::{and_others, duration};

const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

const MORE_TIME: &str = "allow more time with wait";

/// A job that is waited for.
struct Waiting<'a> {
    id: &'a str,
    /// The job once it is final. Until then it is not kept: the next poll replaces it.
    job: Option<Job>,
    /// What was last read of it: its status, and when it should be final.
    progress: Option<String>,
    is_paused: bool,
    /// Why it could not be read since.
    error: Option<RequestError>,
    next_poll: Instant,
    /// The next pause, unless the server or the estimate gives another.
    pause: Duration,
}

/// Polls the jobs until all are final, for `wait` at most, and gives them back in the order of the IDs. `timeout` bounds
/// each poll; jobs that are final are not polled again.
///
/// # Errors
/// The time is up, or a poll failed for good. Other errors are waited out.
pub fn until_final(api: &Api, ids: &[&str], wait: Duration, timeout: Duration) -> Result<Vec<Job>> {
    let start = Instant::now();
    let end = start + wait;
    let left = || end.saturating_duration_since(Instant::now());
    // The last poll has at least this time.
    let shortest_poll = SHORTEST_PAUSE.min(wait / 4);
    let mut jobs: Vec<_> = ids
        .iter()
        .map(|id| Waiting {
            id,
            job: None,
            progress: None,
            is_paused: false,
            error: None,
            next_poll: start,
            pause: SHORTEST_PAUSE,
        })
        .collect();
    let only_id = ids.first().copied().filter(|_| ids.len() == 1);
    let mut progress = Progress::new(api);
    let mut poll_all = false;
    loop {
        let poll_start = Instant::now();
        let polled = poll(api, &mut jobs, &Deadline::timeout(timeout).min(Deadline::wait(end, wait)), poll_all)?;
        if jobs.iter().all(Waiting::is_final) {
            return Ok(jobs.into_iter().filter_map(|waiting| waiting.job).collect());
        }
        if left() < shortest_poll {
            return Err(out_of_time(&jobs, wait));
        }
        // The last poll begins early enough to finish: twice as long before the end as this one took for as many jobs.
        let rounds = |jobs: usize| jobs.div_ceil(MAX_CONNECTIONS).max(1) as u32;
        let pending = jobs.iter().filter(|job| !job.is_final()).count();
        let last_poll = poll_start.elapsed() * 2 * rounds(pending) / rounds(polled);
        let until_last = left().saturating_sub(last_poll.max(shortest_poll));
        let pause = next_pause(&jobs, Instant::now()).max(api.rate_limit_delay());
        poll_all = pause >= until_last;
        let pause = pause.min(until_last);
        let has_reader = match &mut progress {
            Some(progress) => progress.show(&status(&jobs), only_id, pause),
            None => sleep_while_read(pause),
        };
        ensure!(has_reader, "stdout has been closed, so the wait has ended");
    }
}

/// Reads the jobs that are due, or all that are not final. Returns how many these were.
fn poll(api: &Api, jobs: &mut [Waiting], deadline: &Deadline, poll_all: bool) -> Result<usize> {
    let now = Instant::now();
    let mut due: Vec<_> = jobs.iter_mut().filter(|job| !job.is_final() && (poll_all || job.next_poll <= now)).collect();
    let ids: Vec<_> = due.iter().map(|waiting| waiting.id).collect();
    let results = api.jobs(&ids, deadline);
    // The same for all of them, so that they are due together.
    let (now, clock) = (Instant::now(), SystemTime::now());
    let mut refusals = Vec::new();
    for (waiting, result) in due.iter_mut().zip(results) {
        match result {
            Err(error) if waiting.is_ended_by(&error) => refusals.push((waiting.id, error)),
            result => waiting.note(result, now, clock),
        }
    }
    if refusals.is_empty() { Ok(ids.len()) } else { Err(batch::could_not_read(jobs.len(), &refusals)) }
}

impl Waiting<'_> {
    fn is_final(&self) -> bool {
        self.job.is_some()
    }

    /// Whether this error is permanent. Once the job has been read, only the API's own refusal is: the address and the
    /// key were right.
    fn is_ended_by(&self, error: &RequestError) -> bool {
        if self.progress.is_some() {
            error.is_api_refusal()
        } else {
            matches!(error.retry, Retry::Never | Retry::NewToken)
        }
    }

    fn note(&mut self, result: Result<Job, RequestError>, now: Instant, clock: SystemTime) {
        let now_unix = clock.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let estimate = |job: &Job| Duration::from_secs(job.estimated_finish()?).checked_sub(now_unix);
        let pause = match &result {
            Ok(job) => estimate(job).map(|left| left.clamp(SHORTEST_PAUSE, LONGEST_PAUSE)),
            Err(RequestError { retry: Retry::After(pause) | Retry::RateLimited(pause), .. }) => {
                pause.map(|pause| pause.max(SHORTEST_PAUSE))
            }
            Err(_) => None,
        };
        self.next_poll = now + pause.unwrap_or(self.pause);
        self.pause = (self.pause * 3 / 2).min(LONGEST_PAUSE);
        match result {
            Ok(job) => {
                (self.progress, self.is_paused, self.error) = (Some(job.progress()), job.is_paused(), None);
                self.job = Some(job).filter(Job::is_final);
            }
            Err(error) => self.error = Some(error),
        }
    }
}

/// The time until the first of the jobs is due that are not final.
fn next_pause(jobs: &[Waiting], now: Instant) -> Duration {
    let waiting = jobs.iter().filter(|job| !job.is_final());
    waiting.map(|job| job.next_poll.saturating_duration_since(now)).min().unwrap_or_default()
}

fn status(jobs: &[Waiting]) -> String {
    match jobs {
        [waiting] => format!("{}: {}", waiting.id, waiting.progress.as_deref().unwrap_or("no response yet")),
        _ => format!("{} of {} jobs are final", jobs.iter().filter(|job| job.is_final()).count(), jobs.len()),
    }
}

fn out_of_time(jobs: &[Waiting], wait: Duration) -> Error {
    let waited = duration(wait);
    let waiting: Vec<_> = jobs.iter().filter(|job| !job.is_final()).collect();
    let (first, others) = (waiting[0], and_others(waiting.len(), jobs.len()));
    let error = first.error.as_ref().map(|error| {
        // The same advice once is enough.
        let error = if error.advice == MORE_TIME { error.reason() } else { error.to_string() };
        format!("; the last poll failed: {error}")
    });
    let error = error.unwrap_or_default();
    match &first.progress {
        Some(status) => {
            let advice = if first.is_paused { "resume it first" } else { MORE_TIME };
            anyhow!("fine-tuning job {}{others} is still {status} after {waited}; {advice}{error}", first.id)
        }
        None => anyhow!("could not read fine-tuning job {}{others} in {waited}{error}", first.id),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::http::Kind;

    fn waiting() -> Waiting<'static> {
        Waiting {
            id: "ftjob-x",
            job: None,
            progress: None,
            is_paused: false,
            error: None,
            next_poll: Instant::now(),
            pause: SHORTEST_PAUSE,
        }
    }

    fn job(status: &str, estimated_finish: Value) -> Job {
        let api = json!({ "object": "fine_tuning.job", "id": "ftjob-x", "status": status, "estimated_finish": estimated_finish });
        Job::new(api).unwrap()
    }

    /// The pause after a result.
    fn pause(waiting: &mut Waiting, result: Result<Job, RequestError>) -> Duration {
        let (now, clock) = (Instant::now(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_000));
        waiting.note(result, now, clock);
        waiting.next_poll - now
    }

    fn error(retry: Retry, kind: Kind) -> RequestError {
        RequestError::new("no".into(), String::new(), retry, kind)
    }

    #[test]
    fn pauses_grow_to_half_a_minute() {
        let mut waiting = waiting();
        let pauses: Vec<_> =
            (0..12).map(|_| pause(&mut waiting, Ok(job("running", json!(null)))).as_millis()).collect();
        assert_eq!(pauses[..3], [1000, 1500, 2250]);
        assert_eq!(pauses[10..], [30_000; 2]);
    }

    #[test]
    fn pauses_follow_the_estimate_and_the_server() {
        let seconds = |finish: Value| pause(&mut waiting(), Ok(job("running", finish))).as_secs();
        assert_eq!([json!(0), json!(990), json!(1_000)].map(seconds), [1, 1, 1]);
        assert_eq!([json!(1_012), json!(9_000)].map(seconds), [12, 30]);
        let named = Retry::RateLimited(Some(Duration::from_secs(90)));
        assert_eq!(pause(&mut waiting(), Err(error(named, Kind::Response))).as_secs(), 90);
        // No server makes the program poll more than once a second.
        let named = Retry::After(Some(Duration::from_millis(1)));
        assert_eq!(pause(&mut waiting(), Err(error(named, Kind::Response))), SHORTEST_PAUSE);
    }

    #[test]
    fn the_first_job_that_is_due_ends_the_pause() {
        let now = Instant::now();
        let mut jobs = [waiting(), waiting(), waiting()];
        for (waiting, (status, seconds)) in jobs.iter_mut().zip([("succeeded", 2), ("running", 12), ("queued", 8)]) {
            waiting.job = Some(job(status, json!(null))).filter(Job::is_final);
            waiting.next_poll = now + Duration::from_secs(seconds);
        }
        assert_eq!(next_pause(&jobs, now).as_secs(), 8);
    }

    #[test]
    fn after_the_first_read_only_the_apis_refusals_end_a_wait() {
        let status = |status, from_api| error(Retry::Never, Kind::Status { status, from_api });
        let unread = waiting();
        let read = Waiting { progress: Some("running".into()), ..waiting() };
        for refusal in [401, 403, 404] {
            assert!(unread.is_ended_by(&status(refusal, true)) && read.is_ended_by(&status(refusal, true)));
            assert!(unread.is_ended_by(&status(refusal, false)) && !read.is_ended_by(&status(refusal, false)));
        }
        for is_from_api in [true, false] {
            assert!(read.is_ended_by(&status(501, is_from_api)));
        }
        for passing in [status(302, false), status(400, true), error(Retry::Never, Kind::Connection)] {
            assert!(unread.is_ended_by(&passing) && !read.is_ended_by(&passing), "{passing:?}");
        }
        assert!(!unread.is_ended_by(&error(Retry::Later, Kind::Response)));
    }

    #[test]
    fn a_failed_poll_keeps_the_last_status() {
        let mut waiting = waiting();
        pause(&mut waiting, Ok(job("running", json!(null))));
        pause(&mut waiting, Err(error(Retry::Later, Kind::Response)));
        let line = out_of_time(&[waiting], Duration::from_secs(60)).to_string();
        let expected =
            "fine-tuning job ftjob-x is still running after 1m; allow more time with wait; the last poll failed: no";
        assert_eq!(line, expected);
    }
}
