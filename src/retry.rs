//! Another try where it may help, as OpenAI's own SDKs do it: twice at most, after a pause that doubles or that the
//! server asks for, and never past the deadline.

use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, anyhow};
use ureq::http::{HeaderMap, StatusCode};

const RETRIES: u32 = 2;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// Why one attempt failed, and whether another one may do better.
pub struct Failed {
    pub why: String,
    pub again: Again,
}

impl Failed {
    pub fn never(why: String) -> Self {
        Failed { why, again: Again::Never }
    }

    pub fn soon(why: String) -> Self {
        Failed { why, again: Again::Soon }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Again {
    Never,
    Soon,
    /// After the pause that the server asked for.
    After(Duration),
}

/// Tries until it works, cannot work, or would take longer than `timeout` in all. Each attempt is told how long it may
/// take: a third of it all, so that one that hangs leaves time for two more, or what is left.
///
/// # Errors
/// The last attempt's, with the number of attempts if there were several.
pub fn run<T>(timeout: Duration, mut attempt: impl FnMut(Duration) -> Result<T, Failed>) -> Result<T> {
    let deadline = Instant::now() + timeout;
    let left = || deadline.saturating_duration_since(Instant::now());
    for retries in 0.. {
        let failed = match attempt(left().min(timeout / 3)) {
            Ok(done) => return Ok(done),
            Err(failed) => failed,
        };
        let pause = failed.again.pause(retries, fastrand::f64());
        if let Some(pause) = pause.filter(|pause| retries < RETRIES && *pause < left()) {
            thread::sleep(pause);
            continue;
        }
        let attempts = if retries > 0 { format!(" (after {} attempts)", retries + 1) } else { String::new() };
        return Err(anyhow!("{}{attempts}", failed.why));
    }
    unreachable!("the last retry returns")
}

impl Again {
    /// What a status and its headers say: `x-should-retry` first, else 408, 409, 429 and 5xx are tried again. (The rules
    /// and the header names are those of OpenAI's SDK for Python, `_base_client.py`.)
    pub fn after_status(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Self {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let retried = match header("x-should-retry") {
            Some("true") => true,
            Some("false") => false,
            _ => matches!(status.as_u16(), 408 | 409 | 429 | 500..),
        };
        let millis = || seconds(header("retry-after-ms")?, 0.001);
        let after = || seconds(header("retry-after")?, 1.0);
        let date = || {
            let date = httpdate::parse_http_date(header("retry-after")?).ok()?;
            Some(date.duration_since(now).unwrap_or_default())
        };
        match retried {
            false => Self::Never,
            true => millis().or_else(after).or_else(date).map_or(Self::Soon, Self::After),
        }
    }

    /// The pause before the next attempt, when `retries` came before it. `jitter`, from 0 to 1, takes up to a quarter
    /// off, so that many that failed together do not come back together.
    fn pause(self, retries: u32, jitter: f64) -> Option<Duration> {
        match self {
            Self::Never => None,
            Self::Soon => {
                let pause = FIRST_PAUSE.saturating_mul(1 << retries.min(16)).min(LONGEST_PAUSE);
                Some(pause.mul_f64(1.0 - jitter / 4.0))
            }
            Self::After(pause) => Some(pause),
        }
    }
}

fn seconds(text: &str, unit: f64) -> Option<Duration> {
    let number: f64 = text.parse().ok()?;
    Duration::try_from_secs_f64(number * unit).ok()
}
