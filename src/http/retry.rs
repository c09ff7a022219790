//! Decides what becomes of a request after a failed attempt, and of the connection that it was sent on. The rules and the
//! header names are those of OpenAI's SDK for Python, `_base_client.py`; but a rate limit counts as no failure, and a
//! connection that fails is left for those that work.

use std::time::{Duration, SystemTime};

use ureq::http::{HeaderMap, StatusCode};

use super::error::{Kind, RequestError, Retry};

/// How often a request is sent again after it failed.
pub(super) const MAX_RETRIES: u32 = 2;
/// How often a request is sent at most while the answer is 503 and other requests of the run succeed.
const MAX_UNAVAILABLE: u32 = 12;
/// How often a request is sent again with a new access token.
const MAX_RENEWALS: u32 = 2;
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const LONGEST_BACKOFF: Duration = Duration::from_secs(8);
/// As long as the longest wait. A time that is much further away is more than an `Instant` can hold.
const LONGEST_PAUSE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What is counted of one request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// How often it was sent.
    pub(super) attempts: u32,
    retries: u32,
    /// How often it was answered with 503 without `Retry-After`.
    unavailable: u32,
    /// How often a new access token was wanted for it.
    renewals: u32,
}

impl Counts {
    /// Counts an attempt that failed with this error.
    pub(super) fn add(&mut self, error: &RequestError) {
        self.attempts += u32::from(!matches!(error.kind, Kind::Connection | Kind::Stale));
        self.retries += u32::from(costs_a_retry(error));
        self.unavailable += u32::from(is_unavailable(error));
        self.renewals += u32::from(error.retry == Retry::NewToken);
    }
}

/// What is known when an attempt fails.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Situation {
    /// What was counted of the request before.
    pub(super) counts: Counts,
    /// How often in a row the connection failed before.
    pub(super) failures: u32,
    /// Whether any request of the batch has been answered.
    pub(super) any_answered: bool,
    /// Whether another connection is there, and others were answered since this attempt began.
    pub(super) others_work: bool,
    /// Whether any request of the run has succeeded.
    pub(super) has_succeeded: bool,
    /// How long the rate limit holds all requests back.
    pub(super) held_back: Duration,
    /// The time until the deadline.
    pub(super) left: Duration,
    /// From 0 to 1.
    pub(super) jitter: f64,
}

/// What comes after a failed attempt.
#[derive(Debug, PartialEq)]
pub(super) struct Next {
    pub(super) request: NextRequest,
    /// How long the connection pauses before its next request; `None` if it is given up.
    pub(super) connection: Option<Duration>,
}

#[derive(Debug, PartialEq)]
pub(super) enum NextRequest {
    /// It is sent again, not before this pause is over.
    Retry(Duration),
    /// It ends with the error.
    End,
    /// All requests of the batch end with the error.
    EndAll,
}

/// Decides what comes after an attempt failed with this error. A pause that does not fit into the time left is not begun.
pub(super) fn after(error: &RequestError, situation: &Situation) -> Next {
    let Situation { counts: Counts { retries, unavailable, renewals, .. }, failures, left, jitter, .. } = *situation;
    let fitting = |pause: Duration| Some(pause).filter(|pause| *pause < left);
    let pause = match (error.kind, error.retry) {
        // The exchange has had retries of its own.
        (Kind::TokenExchange { .. }, _) => None,
        (_, Retry::NewToken) => (renewals < MAX_RENEWALS).then_some(Duration::ZERO),
        // It never reached the server, so another connection may send it at once.
        (Kind::Connection | Kind::Stale, _) => Some(Duration::ZERO),
        // Some servers limit the rate without saying so; but for a job that always gets it, the rate is not the reason.
        (_, Retry::RateLimited(_)) if is_unavailable(error) && unavailable + 1 >= MAX_UNAVAILABLE => None,
        (_, Retry::RateLimited(_)) => fitting(situation.held_back),
        (_, Retry::After(pause)) if retries < MAX_RETRIES => fitting(pause.unwrap_or_else(|| backoff(retries, jitter))),
        _ => None,
    };
    let request = match pause {
        Some(pause) => NextRequest::Retry(pause),
        None if error.ends_batch(situation.has_succeeded) => NextRequest::EndAll,
        None => NextRequest::End,
    };
    // A proxy may have named it.
    let named = if let Retry::After(pause) = error.retry { pause } else { None };
    let connection = match error.kind {
        Kind::Stale => Some(Duration::ZERO),
        kind if kind.is_answer() => Some(Duration::ZERO),
        // It would keep the next request waiting too.
        Kind::TimedOut if situation.others_work => None,
        _ if error.retry == Retry::Never => None,
        _ if failures >= MAX_RETRIES && !situation.any_answered => None,
        _ => fitting(named.unwrap_or_else(|| backoff(failures, jitter))),
    };
    Next { request, connection }
}

/// Whether an attempt that failed with this error costs the request one of its retries.
fn costs_a_retry(error: &RequestError) -> bool {
    !matches!(error.kind, Kind::Connection | Kind::Stale)
        && !matches!(error.retry, Retry::RateLimited(_) | Retry::NewToken)
}

/// Whether the answer was 503, and named no pause.
fn is_unavailable(error: &RequestError) -> bool {
    matches!(error.kind, Kind::Status { status: 503, .. })
        && matches!(error.retry, Retry::RateLimited(None) | Retry::After(None))
}

/// What may help after a response with this status. 503 means a rate limit if the server names a pause, or if requests of
/// the run have succeeded: nginx's `limit_req` answers so by default.
pub(super) fn of_response(status: StatusCode, headers: &HeaderMap, has_succeeded: bool, now: SystemTime) -> Retry {
    let is_transient = matches!(status.as_u16(), 408 | 409 | 429 | 500 | 502..);
    match text(headers, "x-should-retry") {
        Some("false") if is_transient => return Retry::Later,
        Some("true") => {}
        _ if !is_transient => return Retry::Never,
        _ => {}
    }
    let pause = retry_after(headers, now);
    match status {
        StatusCode::TOO_MANY_REQUESTS => Retry::RateLimited(pause),
        StatusCode::SERVICE_UNAVAILABLE if pause.is_some() || has_succeeded => Retry::RateLimited(pause),
        _ => Retry::After(pause),
    }
}

/// The pause that a server names, in one of three ways. `None` for a pause of nothing, or until a past date.
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
fn backoff(retry: u32, jitter: f64) -> Duration {
    let pause = FIRST_BACKOFF.saturating_mul(1 << retry.min(16)).min(LONGEST_BACKOFF);
    pause.mul_f64(1.0 - jitter / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn error(kind: Kind, retry: Retry) -> RequestError {
        RequestError::new(String::new(), String::new(), retry, kind)
    }

    #[test]
    fn each_failure_has_its_consequence() {
        use Kind::{Connection, NoResponse, Response, Stale, TimedOut};
        use NextRequest::{End, EndAll, Retry as Again};

        let now = Duration::ZERO;
        let first = Situation { left: Duration::from_secs(60), ..Situation::default() };
        let transient = Retry::After(None);
        let named = |millis| Retry::After(Some(Duration::from_millis(millis)));
        let status = |status, from_api| Kind::Status { status, from_api };
        let retried = |retries| Counts { retries, ..Counts::default() };
        let third = Situation { counts: retried(2), failures: 2, ..first };
        let answered = Situation { any_answered: true, ..third };
        let others_work = Situation { others_work: true, ..answered };
        let late = Situation { left: millis(500), ..first };
        let succeeded = Situation { has_succeeded: true, ..first };
        let held_back = |held_back| Situation { held_back: millis(held_back), ..third };
        let rejected =
            |unavailable, millis| Situation { counts: Counts { unavailable, ..retried(2) }, ..held_back(millis) };
        let renewed = Counts { renewals: 2, ..Counts::default() };
        let named_limit = Retry::RateLimited(Some(millis(100)));
        for (kind, retry, situation, request, connection) in [
            // A connection that cannot be made: the request is free for others, and the connection pauses.
            (Connection, transient, first, Again(now), Some(millis(500))),
            (Connection, transient, Situation { failures: 1, ..first }, Again(now), Some(millis(1000))),
            (Connection, transient, third, Again(now), None),
            (Connection, transient, answered, Again(now), Some(millis(2000))),
            (Connection, transient, others_work, Again(now), Some(millis(2000))),
            (Connection, transient, Situation { failures: 9, ..answered }, Again(now), Some(millis(8000))),
            (Connection, transient, late, Again(now), None),
            (Connection, named(1500), first, Again(now), Some(millis(1500))),
            (Connection, named(500), late, Again(now), None),
            (Connection, Retry::Never, first, Again(now), None),
            (Connection, Retry::Never, answered, Again(now), None),
            // A connection that was closed while it was kept alive.
            (Stale, transient, third, Again(now), Some(now)),
            (Stale, transient, late, Again(now), Some(now)),
            // No response: both pause.
            (NoResponse, transient, first, Again(millis(500)), Some(millis(500))),
            (NoResponse, transient, third, End, None),
            (NoResponse, transient, answered, End, Some(millis(2000))),
            (NoResponse, transient, others_work, End, Some(millis(2000))),
            (NoResponse, transient, late, End, None),
            (TimedOut, transient, first, Again(millis(500)), Some(millis(500))),
            (TimedOut, transient, Situation { counts: retried(1), ..others_work }, Again(millis(1000)), None),
            (TimedOut, transient, answered, End, Some(millis(2000))),
            // A response, but not the one that was wanted.
            (status(502, false), transient, first, Again(millis(500)), Some(now)),
            (status(502, false), transient, Situation { counts: retried(1), ..third }, Again(millis(1000)), Some(now)),
            (status(502, false), transient, third, End, Some(now)),
            (status(502, false), named(499), late, Again(millis(499)), Some(now)),
            (status(502, false), named(500), late, End, Some(now)),
            (status(503, true), Retry::Later, first, End, Some(now)),
            (status(404, true), Retry::Never, first, End, Some(now)),
            (Response, transient, first, Again(millis(500)), Some(now)),
            (Response, Retry::Never, first, End, Some(now)),
            // A rate limit costs no retry.
            (status(429, true), Retry::RateLimited(None), held_back(59_999), Again(millis(59_999)), Some(now)),
            (status(429, true), Retry::RateLimited(None), held_back(60_000), End, Some(now)),
            (status(503, false), Retry::RateLimited(None), rejected(10, 100), Again(millis(100)), Some(now)),
            (status(503, false), Retry::RateLimited(None), rejected(11, 100), End, Some(now)),
            (status(503, false), named_limit, rejected(99, 100), Again(millis(100)), Some(now)),
            (status(429, false), Retry::RateLimited(None), rejected(99, 100), Again(millis(100)), Some(now)),
            // A new access token costs no retry.
            (status(401, true), Retry::NewToken, third, Again(now), Some(now)),
            (status(401, true), Retry::NewToken, Situation { counts: renewed, ..first }, EndAll, Some(now)),
            (Kind::TokenExchange { is_refused: false }, transient, succeeded, EndAll, Some(millis(500))),
            (Kind::TokenExchange { is_refused: true }, Retry::Never, succeeded, EndAll, None),
            // What concerns all requests.
            (status(401, true), Retry::Never, succeeded, EndAll, Some(now)),
            (status(403, true), Retry::Never, first, EndAll, Some(now)),
            (status(302, false), Retry::Never, first, EndAll, Some(now)),
            (status(401, false), transient, first, Again(millis(500)), Some(now)),
            (status(401, false), transient, third, EndAll, Some(now)),
            // From a gateway, perhaps of one of its machines alone.
            (status(302, false), Retry::Never, succeeded, End, Some(now)),
            (status(401, false), Retry::Never, succeeded, End, Some(now)),
            (status(403, false), Retry::Never, succeeded, End, Some(now)),
        ] {
            let next = after(&error(kind, retry), &situation);
            assert_eq!(next, Next { request, connection }, "{kind:?} {retry:?} {situation:?}");
        }
    }

    #[test]
    fn what_never_reached_the_server_costs_no_retry() {
        for (kind, retry, costs) in [
            (Kind::Connection, Retry::After(None), false),
            (Kind::Stale, Retry::After(None), false),
            (Kind::Response, Retry::RateLimited(None), false),
            (Kind::NoResponse, Retry::After(None), true),
            (Kind::Response, Retry::After(None), true),
        ] {
            assert_eq!(costs_a_retry(&error(kind, retry)), costs, "{kind:?} {retry:?}");
        }
    }

    fn retry(status: u16, headers: &[(&'static str, &str)]) -> Retry {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        of_response(StatusCode::from_u16(status).unwrap(), &headers, false, now())
    }

    /// Sun, 06 Nov 1994 08:49:37 GMT
    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)
    }

    #[test]
    fn transient_statuses_are_retried() {
        for status in [408, 409, 500, 502, 503, 599] {
            assert_eq!(retry(status, &[]), Retry::After(None), "{status}");
        }
        for status in [204, 302, 400, 401, 403, 404, 422, 501] {
            assert_eq!(retry(status, &[]), Retry::Never, "{status}");
        }
    }

    #[test]
    fn rate_limits_are_no_failures() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(retry(429, &[]), Retry::RateLimited(None));
        assert_eq!(retry(429, &[("retry-after", "1")]), Retry::RateLimited(second));
        assert_eq!(retry(503, &[("retry-after", "1")]), Retry::RateLimited(second));
        assert_eq!(retry(502, &[("retry-after", "1")]), Retry::After(second));
        // Without success, nothing tells a limit from an outage.
        let after_success = |status| of_response(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), true, now());
        assert_eq!([503, 502].map(after_success), [Retry::RateLimited(None), Retry::After(None)]);
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
            assert_eq!(pause(&[("retry-after", long)]), Retry::After(Some(Duration::from_secs(7 * 86_400))), "{long}");
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
