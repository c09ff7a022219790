//! Keeps to a server's rate limit: once one request of a run meets it, all of them are held back, and then sent at
//! intervals, so that they do not meet it together again.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::retry::backoff;

/// A server that names a shorter pause would be flooded with requests.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const SHORTEST_INTERVAL: Duration = Duration::from_millis(1);
const LONGEST_INTERVAL: Duration = Duration::from_secs(1);
/// By how much each accepted request shortens the interval: 138 of them halve it.
const SHORTENING: f64 = 0.995;

#[derive(Default)]
pub(super) struct Pacing(Mutex<State>);

#[derive(Default)]
struct State {
    /// No request is sent before this.
    not_before: Option<Instant>,
    /// The time between two requests: none before the limit was met.
    interval: Duration,
    /// When a request last met the limit.
    rejected_at: Option<Instant>,
    /// How often in a row the limit was met without a request being accepted in between.
    rejections: u32,
}

impl Pacing {
    /// How long requests are held back from now on.
    pub(super) fn delay(&self, now: Instant) -> Duration {
        self.state().not_before.map_or(Duration::ZERO, |time| time.saturating_duration_since(now))
    }

    /// Lets one request be sent now, or says how long all of them are held back.
    pub(super) fn take_turn(&self, now: Instant) -> Result<(), Duration> {
        let mut state = self.state();
        match state.not_before {
            Some(time) if time > now => Err(time - now),
            _ => {
                state.not_before = Some(now + state.interval);
                Ok(())
            }
        }
    }

    pub(super) fn accepted(&self) {
        let mut state = self.state();
        state.rejections = 0;
        state.interval = state.interval.mul_f64(SHORTENING);
    }

    /// Notes that a request which was sent at `sent` met the limit. Without a pause that the server names, it is the
    /// backoff's, which grows with each rejection of a request that was sent after the one before was known.
    pub(super) fn rejected(&self, sent: Instant, now: Instant, pause: Option<Duration>, jitter: f64) {
        let mut state = self.state();
        let is_known = state.rejected_at.is_some_and(|rejected_at| sent < rejected_at);
        let pause = match pause {
            Some(pause) => pause.max(SHORTEST_PAUSE),
            None if is_known => return,
            None => backoff(state.rejections, jitter),
        };
        if !is_known {
            // Without a request accepted in between, longer intervals would not have helped.
            if state.rejections == 0 {
                state.interval = (state.interval * 2).clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL);
            }
            state.rejections += 1;
            state.rejected_at = Some(now);
        }
        state.not_before = state.not_before.max(Some(now + pause));
    }

    fn state(&self) -> MutexGuard<'_, State> {
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

    #[test]
    fn requests_that_meet_a_limit_are_spread_out() {
        let (pacing, mut now) = (Pacing::default(), Instant::now());
        // A server that takes one request in 10 ms, and is 20 ms away. So are 32 connections.
        let (mut accepted, mut rejected, mut next) = (0, 0, now);
        let mut in_flight = std::collections::VecDeque::new();
        let start = now;
        while accepted < 1000 {
            while let Some(&(sent, is_accepted)) = in_flight.front().filter(|(sent, _)| *sent + SECOND / 50 <= now) {
                in_flight.pop_front();
                if is_accepted {
                    pacing.accepted();
                } else {
                    rejected += 1;
                    pacing.rejected(sent, now, Some(SECOND), 0.0);
                }
            }
            while in_flight.len() < 32 && pacing.take_turn(now).is_ok() {
                let is_accepted = now >= next;
                if is_accepted {
                    (accepted, next) = (accepted + 1, now + SECOND / 100);
                }
                in_flight.push_back((now, is_accepted));
            }
            now += Duration::from_micros(100);
        }
        assert!(rejected * 2 <= accepted, "{rejected} rejected");
        assert!(now - start < SECOND * 60, "{:?}", now - start);
    }
}
