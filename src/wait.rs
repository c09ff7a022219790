//! Waits until jobs are done: looks that grow rarer, and for people at a terminal what happens meanwhile.

use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Error, Result, anyhow};
use humantime::format_duration;

use crate::api::{Api, Event, Look};
use crate::job;
use crate::read;
use crate::retry::{Again, Failed, Pass};

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// What is kept of the wait for the last look.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// A job that is waited for.
struct Waiting<'a> {
    id: &'a str,
    last: Option<Look>,
    /// Why it could not be looked at again.
    trouble: Option<Failed>,
}

impl Waiting<'_> {
    fn is_done(&self) -> bool {
        self.last.as_ref().is_some_and(|look| job::is_done(&look.job))
    }
}

/// Looks at the jobs until all are done, for `wait` at most, and gives back the last looks in the order of the IDs.
/// `timeout` bounds each pass; jobs that are done are not looked at again.
///
/// # Errors
/// The time is up, or a look failed in a way that waiting will not mend. Other failures are waited out.
pub fn until_done(api: &Api, ids: &[&str], wait: Duration, timeout: Duration) -> Result<Vec<Look>> {
    let start = Instant::now();
    let left = || wait.saturating_sub(start.elapsed());
    let last_look = LAST_LOOK.min(wait / 4);
    let mut jobs: Vec<_> = ids.iter().map(|id| Waiting { id, last: None, trouble: None }).collect();
    let mut progress = io::stderr().is_terminal().then(|| Progress { api, start, newest: None });
    let mut pause = FIRST_PAUSE;
    loop {
        look(api, &mut jobs, &Pass::within(timeout, left()))?;
        if jobs.iter().all(Waiting::is_done) {
            return Ok(jobs.into_iter().filter_map(|job| job.last).collect());
        }
        let until_last_look = left().saturating_sub(last_look);
        if until_last_look.is_zero() {
            return Err(out_of_time(&jobs, wait));
        }
        let next = next_pause(&jobs, pause, SystemTime::now()).min(until_last_look);
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        match &mut progress {
            Some(progress) => progress.show(&jobs, next),
            None => thread::sleep(next),
        }
    }
}

/// Looks once more at all that are not done.
fn look(api: &Api, jobs: &mut [Waiting], pass: &Pass) -> Result<()> {
    let mut pending: Vec<_> = jobs.iter_mut().filter(|job| !job.is_done()).collect();
    let ids: Vec<_> = pending.iter().map(|job| job.id).collect();
    let looks = match read::looks(api, &ids, pass) {
        Ok(looks) => looks,
        Err(failed) if failed.again == Again::Never => return Err(read::not_read(&ids, &failed.why)),
        Err(failed) => {
            pending.iter_mut().for_each(|job| job.trouble = Some(failed.clone()));
            return Ok(());
        }
    };
    let mut final_failures = Vec::new();
    for (job, look) in pending.into_iter().zip(looks) {
        match look {
            Ok(look) => (job.last, job.trouble) = (Some(look), None),
            Err(failed) if failed.again == Again::Never => final_failures.push((job.id, failed.why)),
            Err(failed) => job.trouble = Some(failed),
        }
    }
    let final_failures: Vec<_> = final_failures.iter().map(|(id, why)| (*id, &**why)).collect();
    read::some_not_read(&ids, &final_failures).map_or(Ok(()), Err)
}

/// What the API asks for, else what it estimates, else a pause that grows; of several jobs, the shortest.
fn next_pause(jobs: &[Waiting], growing: Duration, now: SystemTime) -> Duration {
    let pause = |job: &Waiting| {
        if let Some(Failed { again: Again::After(pause), .. }) = job.trouble {
            return pause;
        }
        let estimate = |look: &Look| job::estimated_finish(&look.job)?.duration_since(now).ok();
        let look = job.last.as_ref();
        let pause = look.and_then(|look| look.poll_after.or(estimate(look).map(|left| left.max(FIRST_PAUSE))));
        pause.unwrap_or(growing).min(LONGEST_PAUSE)
    };
    jobs.iter().filter(|job| !job.is_done()).map(pause).min().unwrap_or(growing)
}

fn out_of_time(jobs: &[Waiting], wait: Duration) -> Error {
    let waited = format_duration(wait);
    let pending: Vec<_> = jobs.iter().filter(|job| !job.is_done()).collect();
    let job = pending[0];
    let trouble = job.trouble.iter().map(|failed| format!("; the last look failed: {}", failed.why));
    let trouble: String = trouble.collect();
    let others = match pending.len() - 1 {
        0 => String::new(),
        others => format!(" (nor are {others} more of {} jobs done)", jobs.len()),
    };
    match &job.last {
        Some(look) => {
            let status = job::progress(&look.job);
            anyhow!(
                "fine-tuning job {} is still {status} after {waited}{others}; allow more with wait{trouble}",
                job.id
            )
        }
        None => anyhow!("fine-tuning job {} could not be looked at in {waited}{others}{trouble}", job.id),
    }
}

/// What a person at a terminal sees: one line that is kept up to date, and above it the events of a job that is waited
/// for alone.
struct Progress<'a> {
    api: &'a Api<'a>,
    start: Instant,
    /// The ID of the newest event that was shown.
    newest: Option<String>,
}

impl Progress<'_> {
    fn show(&mut self, jobs: &[Waiting], pause: Duration) {
        let until = Instant::now() + pause;
        write(CLEAR);
        let status = match jobs {
            [job] => {
                let newest = self.newest.as_deref();
                // Without its events the wait goes on.
                for Event { id, line } in self.api.events_since(job.id, newest, until).unwrap_or_default() {
                    write(&format!("{line}\n"));
                    self.newest = Some(id);
                }
                let progress = job.last.as_ref().map(|look| job::progress(&look.job));
                format!("{}: {}", job.id, progress.as_deref().unwrap_or("no answer yet"))
            }
            _ => format!("{} of {} jobs are done", jobs.iter().filter(|job| job.is_done()).count(), jobs.len()),
        };
        let status = self.api.quote(&status);
        loop {
            let waited = Duration::from_secs(self.start.elapsed().as_secs());
            write(&format!("{CLEAR}{NO_WRAP}waited {}, {status}{WRAP}", format_duration(waited)));
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(Duration::from_secs(1)));
        }
    }
}

/// What comes next on the terminal, the result or an error, starts on an empty line.
impl Drop for Progress<'_> {
    fn drop(&mut self) {
        write(CLEAR);
    }
}

/// To the line's start, then empty it (ECMA-48: EL).
const CLEAR: &str = "\r\u{1b}[2K";
/// Cut what does not fit on the line, and no longer (DECAWM): CLEAR empties one row only.
const NO_WRAP: &str = "\u{1b}[?7l";
const WRAP: &str = "\u{1b}[?7h";

/// A terminal that is gone is no reason to stop waiting.
fn write(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn waiting(status: &str, estimated_finish: Value, poll_after: Option<Duration>) -> Waiting<'static> {
        let job = json!({ "status": status, "estimated_finish": estimated_finish });
        Waiting { id: "ftjob-x", last: Some(Look { job, poll_after }), trouble: None }
    }

    #[test]
    fn pauses_follow_the_api() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let growing = Duration::from_secs(5);
        let pause = |finish, poll_after| next_pause(&[waiting("running", finish, poll_after)], growing, now);
        assert_eq!(pause(json!(null), None), growing);
        assert_eq!(pause(json!(0), None), growing);
        assert_eq!(pause(json!(990), None), growing);
        assert_eq!(pause(json!(1_000), None), FIRST_PAUSE);
        assert_eq!(pause(json!(1_012), None), Duration::from_secs(12));
        assert_eq!(pause(json!(9_000), None), LONGEST_PAUSE);
        assert_eq!(pause(json!(9_000), Some(Duration::from_millis(20))), Duration::from_millis(20));
        assert_eq!(pause(json!(null), Some(Duration::from_secs(3600))), LONGEST_PAUSE);

        // The shortest of those that are not done.
        let jobs = [
            waiting("succeeded", json!(1_002), None),
            waiting("running", json!(1_012), None),
            waiting("queued", json!(1_008), None),
        ];
        assert_eq!(next_pause(&jobs, Duration::from_secs(20), now), Duration::from_secs(8));
    }
}
