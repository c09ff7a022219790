//! Keeps to a server's rate limit: once one request of a run meets it, all of them are held back.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::retry::backoff;

/// A server that names a shorter pause would have itself flooded with requests.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

#[derive(Default)]
pub struct Pacing(Mutex<State>);

#[derive(Default)]
struct State {
    /// No request is sent before this.
    not_before: Option<Instant>,
    /// When `not_before` was last set.
    set_at: Option<Instant>,
    /// How often in a row the limit was met without a request being accepted in between.
    rejections: u32,
}

impl Pacing {
    /// How long requests are held back from now on.
    pub fn delay(&self, now: Instant) -> Duration {
        self.state().not_before.map_or(Duration::ZERO, |time| time.saturating_duration_since(now))
    }

    pub fn accepted(&self) {
        self.state().rejections = 0;
    }

    /// Notes that a request which was sent at `sent` met the limit. Without a pause that the server names, it is the
    /// backoff's, which grows with each rejection of a request that was sent after the one before was known.
    pub fn rejected(&self, sent: Instant, now: Instant, pause: Option<Duration>, jitter: f64) {
        let mut state = self.state();
        let is_known = state.set_at.is_some_and(|set_at| sent < set_at);
        let pause = match pause {
            Some(pause) => pause.max(SHORTEST_PAUSE),
            None if is_known => return,
            None => backoff(state.rejections, jitter),
        };
        if !is_known {
            state.rejections += 1;
            state.set_at = Some(now);
        }
        state.not_before = state.not_before.max(Some(now + pause));
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_named_pause_holds_for_all_requests() {
        let (pacing, start) = (Pacing::default(), Instant::now());
        assert_eq!(pacing.delay(start), Duration::ZERO);
        pacing.rejected(start, start, Some(SECOND * 3), 0.0);
        pacing.rejected(start, start, Some(SECOND), 0.0);
        assert_eq!(pacing.delay(start + SECOND), SECOND * 2);
        assert_eq!(pacing.delay(start + SECOND * 5), Duration::ZERO);

        pacing.rejected(start + SECOND * 5, start + SECOND * 5, Some(Duration::from_millis(1)), 0.0);
        assert_eq!(pacing.delay(start + SECOND * 5), SHORTEST_PAUSE);
    }

    #[test]
    fn the_backoff_grows_once_for_all_requests_that_were_under_way() {
        let (pacing, start) = (Pacing::default(), Instant::now());
        let millis = |after: Duration| pacing.delay(start + after).as_millis();
        for number in 1..=32 {
            pacing.rejected(start, start + Duration::from_millis(number), None, 0.0);
        }
        assert_eq!(millis(Duration::from_millis(1)), 500);

        let later = start + SECOND;
        pacing.rejected(later, later, None, 0.0);
        assert_eq!(millis(SECOND), 1000);
        pacing.rejected(later + SECOND, later + SECOND, None, 0.0);
        assert_eq!(millis(SECOND * 2), 2000);

        pacing.accepted();
        pacing.rejected(later + SECOND * 9, later + SECOND * 9, None, 0.0);
        assert_eq!(millis(SECOND * 10), 500);
    }
}
