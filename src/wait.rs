//! Waits until a job is done: looks that grow rarer, and for people at a terminal what happens meanwhile.

use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, bail};
use humantime::format_duration;

use crate::api::{Api, Event, Look};
use crate::job;
use crate::retry::Again;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The last look, when the time is up, gets this much and no more.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// Looks at the job until it is done, for `wait` at most, and gives back the last look. `timeout` bounds each look.
///
/// # Errors
/// The time is up, or a look failed in a way that waiting will not mend. Other failures are waited out.
pub fn until_done(api: &Api, id: &str, wait: Duration, timeout: Duration) -> Result<Look> {
    let start = Instant::now();
    let mut progress = io::stderr().is_terminal().then(|| Progress { api, id, start, newest: None });
    let mut last = None;
    let mut pause = FIRST_PAUSE;
    loop {
        let left = wait.saturating_sub(start.elapsed());
        let trouble = match api.job(id, timeout.min(left.max(LAST_LOOK))) {
            Ok(look) if job::is_done(&look.job) => return Ok(look),
            Ok(look) => {
                last = Some(look);
                None
            }
            Err(failed) if failed.again == Again::Never => return Err(failed.into()),
            Err(failed) => Some(failed.why),
        };
        let left = wait.saturating_sub(start.elapsed());
        if left.is_zero() {
            return out_of_time(id, wait, last, trouble);
        }
        let next = last.as_ref().map_or(pause, |look| next_pause(look, pause, SystemTime::now())).min(left);
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        match &mut progress {
            Some(progress) => progress.show(last.as_ref(), next),
            None => thread::sleep(next),
        }
    }
}

/// What the API asks for, else what it estimates, else a pause that grows.
fn next_pause(look: &Look, growing: Duration, now: SystemTime) -> Duration {
    let left = job::estimated_finish(&look.job).and_then(|finish| finish.duration_since(now).ok());
    let pause = look.poll_after.or(left.map(|left| left.max(FIRST_PAUSE)));
    pause.unwrap_or(growing).min(LONGEST_PAUSE)
}

fn out_of_time(id: &str, wait: Duration, last: Option<Look>, trouble: Option<String>) -> Result<Look> {
    let waited = format_duration(wait);
    let trouble = trouble.map(|why| format!("; the last look failed: {why}")).unwrap_or_default();
    match last {
        Some(look) => bail!("fine-tuning job {id} is still {} after {waited}{trouble}", job::progress(&look.job)),
        None => bail!("fine-tuning job {id} could not be looked at in {waited}{trouble}"),
    }
}

/// What a person at a terminal sees: the job's events as they come, and below them one line that is kept up to date.
struct Progress<'a> {
    api: &'a Api<'a>,
    id: &'a str,
    start: Instant,
    /// The ID of the newest event that was shown.
    newest: Option<String>,
}

impl Progress<'_> {
    fn show(&mut self, last: Option<&Look>, pause: Duration) {
        let until = Instant::now() + pause;
        write(CLEAR);
        // Without its events the wait goes on.
        for Event { id, line } in self.api.events_since(self.id, self.newest.as_deref()).unwrap_or_default() {
            write(&format!("{line}\n"));
            self.newest = Some(id);
        }
        let status = last.map_or("no answer yet".into(), |look| self.api.quote(&job::progress(&look.job)));
        loop {
            let waited = Duration::from_secs(self.start.elapsed().as_secs());
            write(&format!("{CLEAR}{}: {status}, waited {}", self.id, format_duration(waited)));
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

/// A terminal that is gone is no reason to stop waiting.
fn write(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pauses_follow_the_api() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let growing = Duration::from_secs(5);
        let pause = |estimated_finish, poll_after| {
            let look = Look { job: json!({ "estimated_finish": estimated_finish }), poll_after };
            next_pause(&look, growing, now)
        };
        assert_eq!(pause(json!(null), None), growing);
        assert_eq!(pause(json!(0), None), growing);
        assert_eq!(pause(json!(990), None), growing);
        assert_eq!(pause(json!(1_000), None), FIRST_PAUSE);
        assert_eq!(pause(json!(1_012), None), Duration::from_secs(12));
        assert_eq!(pause(json!(9_000), None), LONGEST_PAUSE);
        assert_eq!(pause(json!(9_000), Some(Duration::from_millis(20))), Duration::from_millis(20));
        assert_eq!(pause(json!(null), Some(Duration::from_secs(3600))), LONGEST_PAUSE);
    }
}
