//! Another try where it may help, as OpenAI's own SDKs do it: twice at most, after a pause that doubles or that the
//! server asks for, and never past the deadline.

use std::thread;
use std::time::{Duration, Instant, SystemTime};

use humantime::format_duration;
use ureq::http::{HeaderMap, StatusCode};

const ATTEMPTS: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// Why one attempt failed, and whether another one may do better.
#[derive(Clone)]
pub struct Failed {
    pub why: String,
    pub again: Again,
    /// Any other request would fail in the same way now.
    pub concerns_all: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Again {
    /// It would fail in the same way again.
    Never,
    /// It may pass, but hardly at once, or the server does not want to be asked again now.
    Later,
    Soon,
    /// After the pause that the server asked for.
    After(Duration),
}

impl Failed {
    pub fn new(why: String, again: Again) -> Self {
        Failed { why, again, concerns_all: false }
    }

    pub fn never(why: String) -> Self {
        Self::new(why, Again::Never)
    }

    pub fn later(why: String) -> Self {
        Self::new(why, Again::Later)
    }

    pub fn soon(why: String) -> Self {
        Self::new(why, Again::Soon)
    }

    pub fn concerning_all(self) -> Self {
        Failed { concerns_all: true, ..self }
    }
}

/// The time that one pass has for all its requests, retries and pauses.
pub struct Pass {
    deadline: Instant,
    attempt: Duration,
    attempts: u32,
}

/// How long an attempt may take in a pass that has all of `timeout`: a third, so that one that hangs leaves time for two
/// more.
pub fn attempt(timeout: Duration) -> Duration {
    timeout / ATTEMPTS
}

impl Pass {
    pub fn new(timeout: Duration) -> Self {
        Self::within(timeout, timeout)
    }

    /// A pass that has less time than `timeout`, and attempts that are no shorter for it.
    pub fn within(timeout: Duration, left: Duration) -> Self {
        Pass { deadline: Instant::now() + timeout.min(left), attempt: attempt(timeout), attempts: ATTEMPTS }
    }

    /// The same without another try, for what can be done without.
    pub fn once(&self) -> Self {
        Pass { attempts: 1, ..*self }
    }

    /// Tries until it works, cannot work, or would take longer than the pass. Each attempt is told how long it may take:
    /// its share of the pass, or what is left.
    ///
    /// # Errors
    /// The last attempt's, with the number of attempts if there were several.
    pub fn run<T>(&self, mut attempt: impl FnMut(Duration) -> Result<T, Failed>) -> Result<T, Failed> {
        let left = || self.deadline.saturating_duration_since(Instant::now());
        if left().is_zero() {
            return Err(Failed::later("there was no time left for it; allow more with timeout".into()));
        }
        for retries in 0..self.attempts {
            let mut failed = match attempt(left().min(self.attempt)) {
                Ok(done) => return Ok(done),
                Err(failed) => failed,
            };
            let pause = failed.again.pause(retries, fastrand::f64());
            if let Some(pause) = pause.filter(|pause| retries + 1 < self.attempts && *pause < left()) {
                thread::sleep(pause);
                continue;
            }
            if retries > 0 {
                failed.why += &format!(" (after {} attempts)", retries + 1);
            } else if let Again::After(pause) = failed.again {
                let pause = format_duration(pause);
                failed.why += &format!(" (it asks for a pause of {pause}, which timeout does not leave)");
            }
            return Err(failed);
        }
        unreachable!("the last attempt returns")
    }
}

impl Again {
    /// What a status and its headers say: `x-should-retry` first, else 408, 409, 429 and 5xx are tried again. (The rules
    /// and the header names are those of OpenAI's SDK for Python, `_base_client.py`.)
    pub fn after_status(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Self {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let may_pass = matches!(status.as_u16(), 408 | 409 | 429 | 500..);
        match header("x-should-retry") {
            Some("false") if may_pass => return Self::Later,
            Some("false") => return Self::Never,
            Some("true") => {}
            _ if !may_pass => return Self::Never,
            _ => {}
        }
        let millis = || seconds(headers, "retry-after-ms", 0.001);
        let after = || seconds(headers, "retry-after", 1.0);
        let date = || {
            let date = httpdate::parse_http_date(header("retry-after")?).ok()?;
            date.duration_since(now).ok()
        };
        let asked_for = millis().or_else(after).or_else(date).filter(|pause| !pause.is_zero());
        asked_for.map_or(Self::Soon, Self::After)
    }

    /// The pause before the next attempt, when `retries` came before it. `jitter`, from 0 to 1, takes up to a quarter
    /// off, so that many that failed together do not come back together.
    fn pause(self, retries: u32, jitter: f64) -> Option<Duration> {
        match self {
            Self::Never | Self::Later => None,
            Self::Soon => {
                let pause = FIRST_PAUSE.saturating_mul(1 << retries.min(16)).min(LONGEST_PAUSE);
                Some(pause.mul_f64(1.0 - jitter / 4.0))
            }
            Self::After(pause) => Some(pause),
        }
    }
}

/// A header that is a number of seconds, or of another `unit` in seconds.
pub fn seconds(headers: &HeaderMap, name: &str, unit: f64) -> Option<Duration> {
    let number: f64 = headers.get(name)?.to_str().ok()?.trim().parse().ok()?;
    Duration::try_from_secs_f64(number * unit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(status: u16, headers: &[(&'static str, &str)]) -> Again {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777); // Sun, 06 Nov 1994 08:49:37 GMT
        Again::after_status(StatusCode::from_u16(status).unwrap(), &headers, now)
    }

    #[test]
    fn some_statuses_are_worth_another_try() {
        for status in [408, 409, 429, 500, 502, 503, 599] {
            assert_eq!(after(status, &[]), Again::Soon, "{status}");
        }
        for status in [204, 302, 400, 401, 403, 404, 422] {
            assert_eq!(after(status, &[]), Again::Never, "{status}");
        }
    }

    #[test]
    fn the_server_may_say_otherwise() {
        assert_eq!(after(429, &[("x-should-retry", "false"), ("retry-after", "1")]), Again::Later);
        assert_eq!(after(404, &[("x-should-retry", "false")]), Again::Never);
        assert_eq!(after(400, &[("x-should-retry", "true")]), Again::Soon);
        assert_eq!(after(500, &[("x-should-retry", "perhaps")]), Again::Soon);
    }

    #[test]
    fn the_server_may_ask_for_a_pause() {
        let pause = |headers: &[(&'static str, &str)]| after(503, headers);
        let millis = |millis| Again::After(Duration::from_millis(millis));
        assert_eq!(pause(&[("retry-after-ms", "250")]), millis(250));
        assert_eq!(pause(&[("retry-after-ms", "12.5")]), Again::After(Duration::from_micros(12_500)));
        assert_eq!(pause(&[("retry-after", "3"), ("retry-after-ms", "250")]), millis(250));
        assert_eq!(pause(&[("retry-after", "3"), ("retry-after-ms", "?")]), millis(3000));
        assert_eq!(pause(&[("retry-after", " 1.5 ")]), millis(1500));
        assert_eq!(pause(&[("retry-after", "Sun, 06 Nov 1994 08:49:57 GMT")]), millis(20_000));
        for nonsense in ["0", "Sun, 06 Nov 1994 08:49:17 GMT", "", "-1", "NaN", "inf", "1e300", "soon"] {
            assert_eq!(pause(&[("retry-after", nonsense)]), Again::Soon, "{nonsense}");
        }
    }

    #[test]
    fn pauses_double_up_to_eight_seconds_and_jitter_shortens_them() {
        let millis = |retries, jitter| Again::Soon.pause(retries, jitter).unwrap().as_millis();
        assert_eq!(
            [0, 1, 2, 3, 4, 5, 99].map(|retries| millis(retries, 0.0)),
            [500, 1000, 2000, 4000, 8000, 8000, 8000]
        );
        assert_eq!(millis(0, 1.0), 375);
    }

    #[test]
    fn three_attempts_share_the_time() {
        let mut budgets = Vec::new();
        let failed = Pass::new(Duration::from_secs(30)).run::<()>(|budget| {
            budgets.push(budget);
            Err(Failed::new("no".into(), Again::After(Duration::from_millis(1))))
        });
        assert_eq!(failed.unwrap_err().why, "no (after 3 attempts)");
        assert_eq!(budgets, [Duration::from_secs(10); 3]);
    }

    #[test]
    fn the_last_attempt_gets_what_is_left() {
        let start = Instant::now();
        let timeout = Duration::from_millis(1500);
        let mut spent = Vec::new();
        let failed = Pass::new(timeout).run::<()>(|budget| {
            spent.push(budget);
            thread::sleep(budget);
            Err(Failed::new("no".into(), Again::After(Duration::from_millis(50))))
        });
        assert!(failed.is_err() && spent.len() == 3 && spent[2] <= Duration::from_millis(400), "{spent:?}");
        assert!(start.elapsed() < timeout + Duration::from_millis(500));
    }

    #[test]
    fn a_pause_that_does_not_fit_is_not_begun() {
        let start = Instant::now();
        let failed = Pass::new(Duration::from_secs(60))
            .run::<()>(|_| Err(Failed::new("busy".into(), Again::After(Duration::from_secs(90)))));
        let expected = "busy (it asks for a pause of 1m 30s, which timeout does not leave)";
        assert_eq!(failed.unwrap_err().why, expected);
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}
