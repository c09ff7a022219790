//! When a failed request is sent again. The rules and the header names are those of OpenAI's SDK for Python,
//! `_base_client.py`; but a rate limit counts as no failure.

use std::time::{Duration, Instant, SystemTime};

use ureq::http::{HeaderMap, StatusCode};

/// The longest that `timeout` can be.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(60 * 60);
/// How often a request is sent again after it failed.
pub const MAX_RETRIES: u32 = 2;
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const LONGEST_BACKOFF: Duration = Duration::from_secs(8);
/// As long as the longest wait. A time that is much further away is more than an `Instant` can hold.
const LONGEST_PAUSE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What may help against an error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Retry {
    /// Nothing: the same request would fail again.
    Never,
    /// A later poll, but no retry at once.
    Later,
    /// A retry after the pause that the server names, else after the backoff.
    After(Option<Duration>),
    /// Fewer requests: the next one after the pause that the server names, else after the backoff.
    RateLimited(Option<Duration>),
}

impl Retry {
    pub fn from_response(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Self {
        let is_transient = matches!(status.as_u16(), 408 | 409 | 429 | 500..);
        match text(headers, "x-should-retry") {
            Some("false") if is_transient => return Self::Later,
            Some("false") => return Self::Never,
            Some("true") => {}
            _ if !is_transient => return Self::Never,
            _ => {}
        }
        let pause = retry_after(headers, now);
        match status {
            StatusCode::TOO_MANY_REQUESTS => Self::RateLimited(pause),
            StatusCode::SERVICE_UNAVAILABLE if pause.is_some() => Self::RateLimited(pause),
            _ => Self::After(pause),
        }
    }
}

/// The pause that a server names, in one of three ways. One of nothing, or until a past date, is none.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let number = |name, unit: f64| {
        let number: f64 = text(headers, name)?.parse().ok()?;
        Duration::try_from_secs_f64(number * unit).ok()
    };
    let date = || httpdate::parse_http_date(text(headers, "retry-after")?).ok()?.duration_since(now).ok();
    let pause = number("retry-after-ms", 0.001).or_else(|| number("retry-after", 1.0)).or_else(date);
    pause.filter(|pause| !pause.is_zero()).map(|pause| pause.min(LONGEST_PAUSE))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// The pause before retry number `retry`, from 0. `jitter`, from 0 to 1, takes up to a quarter off, so that requests
/// that failed together do not come back together.
pub fn backoff(retry: u32, jitter: f64) -> Duration {
    let pause = FIRST_BACKOFF.saturating_mul(1 << retry.min(16)).min(LONGEST_BACKOFF);
    pause.mul_f64(1.0 - jitter / 4.0)
}

/// The time that several requests have together, retries and their pauses included.
#[derive(Clone, Copy)]
pub struct Deadline {
    at: Instant,
    /// The whole of it, for messages.
    pub timeout: Duration,
}

impl Deadline {
    pub fn after(timeout: Duration) -> Self {
        Deadline { at: Instant::now() + timeout, timeout }
    }

    pub fn left(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(status: u16, headers: &[(&'static str, &str)]) -> Retry {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777); // Sun, 06 Nov 1994 08:49:37 GMT
        Retry::from_response(StatusCode::from_u16(status).unwrap(), &headers, now)
    }

    #[test]
    fn transient_statuses_are_retried() {
        for status in [408, 409, 500, 502, 503, 599] {
            assert_eq!(retry(status, &[]), Retry::After(None), "{status}");
        }
        for status in [204, 302, 400, 401, 403, 404, 422] {
            assert_eq!(retry(status, &[]), Retry::Never, "{status}");
        }
    }

    #[test]
    fn rate_limits_are_told_apart_from_failures() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(retry(429, &[]), Retry::RateLimited(None));
        assert_eq!(retry(429, &[("retry-after", "1")]), Retry::RateLimited(second));
        assert_eq!(retry(503, &[("retry-after", "1")]), Retry::RateLimited(second));
        assert_eq!(retry(502, &[("retry-after", "1")]), Retry::After(second));
    }

    #[test]
    fn the_server_may_decide_otherwise() {
        assert_eq!(retry(429, &[("x-should-retry", "false"), ("retry-after", "1")]), Retry::Later);
        assert_eq!(retry(404, &[("x-should-retry", "false")]), Retry::Never);
        assert_eq!(retry(400, &[("x-should-retry", "true")]), Retry::After(None));
        assert_eq!(retry(500, &[("x-should-retry", "perhaps")]), Retry::After(None));
    }

    #[test]
    fn the_server_may_name_a_pause() {
        let pause = |headers: &[(&'static str, &str)]| retry(502, headers);
        let millis = |millis| Retry::After(Some(Duration::from_millis(millis)));
        assert_eq!(pause(&[("retry-after-ms", "250")]), millis(250));
        assert_eq!(pause(&[("retry-after-ms", "12.5")]), Retry::After(Some(Duration::from_micros(12_500))));
        assert_eq!(pause(&[("retry-after", "3"), ("retry-after-ms", "250")]), millis(250));
        assert_eq!(pause(&[("retry-after", "3"), ("retry-after-ms", "?")]), millis(3000));
        assert_eq!(pause(&[("retry-after", " 1.5 ")]), millis(1500));
        assert_eq!(pause(&[("retry-after", "Sun, 06 Nov 1994 08:49:57 GMT")]), millis(20_000));
        for long in ["1e19", "Fri, 31 Dec 9999 23:59:59 GMT"] {
            assert_eq!(pause(&[("retry-after", long)]), Retry::After(Some(LONGEST_PAUSE)), "{long}");
        }
        for nonsense in ["0", "Sun, 06 Nov 1994 08:49:17 GMT", "", "-1", "NaN", "inf", "1e300", "soon"] {
            assert_eq!(pause(&[("retry-after", nonsense)]), Retry::After(None), "{nonsense}");
        }
    }

    #[test]
    fn the_backoff_doubles_up_to_eight_seconds_and_jitter_shortens_it() {
        let millis = |retry, jitter| backoff(retry, jitter).as_millis();
        let doubling = [0, 1, 2, 3, 4, 5, 99].map(|retry| millis(retry, 0.0));
        assert_eq!(doubling, [500, 1000, 2000, 4000, 8000, 8000, 8000]);
        assert_eq!(millis(0, 1.0), 375);
    }
}
