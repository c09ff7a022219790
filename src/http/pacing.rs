//! Keeps to a server's rate limit. Once a request of a run meets it, all of them are sent one by one, at a rate that rises
//! while requests are accepted and falls with each rejection (additive increase, multiplicative decrease, as in TCP). So
//! several runs share one limit, and none of them has to know it.

use std::sync::Mutex;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);
/// A server that names a shorter pause would be flooded with requests.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

// Rates are in requests a second. The numbers were found with the simulation in the tests of `schedule`, and with nginx
// (`benches/rate_limit.py`): a higher rise or a smaller fall serves several runs at one limit, and costs more rejections.
const SLOWEST: f64 = 0.125;
const FASTEST: f64 = 1000.0;
/// The rate after the first rejection, unless more was accepted in the second before.
const FIRST: f64 = 10.0;
/// How each accepted request raises the rate until the limit is met for the second time.
const SEARCH: f64 = 1.1;
/// How each accepted request raises the rate after that, beside the rise.
const GROWTH: f64 = 1.005;
/// By how much the rate rises in a second.
const RISE: f64 = 7.0;
/// What a rejection leaves of the rate: less if the server names a pause, which costs more than one interval.
const FALL: f64 = 0.9;
const FALL_BEFORE_PAUSE: f64 = 0.5;
/// After so many rejections in a row, each further one doubles the pause.
const PATIENCE: u32 = 6;

#[derive(Default)]
pub(super) struct Pacing(Mutex<State>);

#[derive(Default)]
struct State {
    /// No request is sent before this.
    not_before: Option<Instant>,
    /// `None` before the limit was met.
    rate: Option<f64>,
    /// Whether the limit was met only once.
    is_searching: bool,
    /// When requests were accepted, before the limit was met.
    accepted: Vec<Instant>,
    /// When the rate last changed.
    changed_at: Option<Instant>,
    /// When the limit was last met.
    rejected_at: Option<Instant>,
    /// How often in a row the limit was met without a request being accepted in between.
    rejections: u32,
}

impl Pacing {
    /// How long requests are held back from now on.
    pub(super) fn delay(&self, now: Instant) -> Duration {
        self.0.lock().unwrap().not_before.map_or(Duration::ZERO, |time| time.saturating_duration_since(now))
    }

    /// Lets one request be sent now, or says how long all of them are held back.
    pub(super) fn take_turn(&self, now: Instant) -> Result<(), Duration> {
        let mut state = self.0.lock().unwrap();
        match state.not_before {
            Some(time) if time > now => Err(time - now),
            _ => {
                state.not_before = state.rate.map(|rate| now + interval(rate));
                Ok(())
            }
        }
    }

    pub(super) fn accepted(&self, now: Instant) {
        let mut state = self.0.lock().unwrap();
        let Some(rate) = state.rate else {
            return state.accepted.push(now);
        };
        let since = state.changed_at.map_or(SECOND, |changed_at| now.saturating_duration_since(changed_at).min(SECOND));
        let rate = if state.is_searching { rate * SEARCH } else { rate * GROWTH + RISE * since.as_secs_f64() };
        (state.rate, state.changed_at, state.rejections) = (Some(rate.min(FASTEST)), Some(now), 0);
    }

    /// Notes that a request which was sent at `sent` met the limit. Unless the server names a pause, it costs about one
    /// interval, less by up to a half with `jitter` from 0 to 1. What was sent before the last rejection was known says
    /// nothing new.
    pub(super) fn rejected(&self, sent: Instant, now: Instant, named: Option<Duration>, jitter: f64) {
        let mut state = self.0.lock().unwrap();
        let is_known = state.rejected_at.is_some_and(|rejected_at| sent <= rejected_at);
        if !is_known {
            let recent = state.accepted.iter().filter(|at| now.saturating_duration_since(**at) < SECOND).count();
            let fall = if named.is_some() { FALL_BEFORE_PAUSE } else { FALL };
            let rate = state.rate.map_or(FIRST.max(recent as f64), |rate| SLOWEST.max(rate * fall));
            state.is_searching = state.rate.is_none();
            state.rejections += 1;
            (state.rate, state.changed_at, state.rejected_at) = (Some(rate), Some(now), Some(now));
        }
        let pause = match (named, state.rate) {
            (Some(named), _) => named.max(SHORTEST_PAUSE),
            (None, Some(rate)) if !is_known => {
                let doubled = 1 << state.rejections.saturating_sub(PATIENCE).min(16);
                (interval(rate) * doubled).min(LONGEST_PAUSE).mul_f64(1.0 - jitter / 2.0)
            }
            _ => return,
        };
        state.not_before = state.not_before.max(Some(now + pause));
    }
}

fn interval(rate: f64) -> Duration {
    Duration::from_secs_f64(1.0 / rate)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn rejections_in_a_row_lead_to_longer_pauses() {
        let (pacing, mut now) = (Pacing::default(), Instant::now());
        let mut pause = || {
            pacing.rejected(now, now, None, 0.0);
            // What was under way then changes nothing.
            pacing.rejected(now - SECOND, now + SECOND, None, 0.0);
            let pause = pacing.delay(now);
            now += pause;
            pause.as_millis()
        };
        let pauses: Vec<_> = (0..14).map(|_| pause()).collect();
        assert_eq!(pauses, [100, 111, 123, 137, 152, 169, 376, 836, 1858, 4129, 8000, 8000, 8000, 8000]);
        pacing.accepted(now);
        pacing.rejected(now, now, None, 1.0);
        assert!(pacing.delay(now) < SECOND, "{:?}", pacing.delay(now));
    }

    #[test]
    fn the_first_rate_is_what_was_accepted_in_the_last_second() {
        for (accepted, interval) in [(0, 100), (9, 100), (40, 25)] {
            let (pacing, start) = (Pacing::default(), Instant::now());
            (0..100).for_each(|_| pacing.accepted(start));
            let now = start + SECOND * 2;
            (0..accepted).for_each(|_| pacing.accepted(now));
            pacing.rejected(now, now, None, 0.0);
            assert_eq!(pacing.delay(now).as_millis(), interval, "{accepted}");
        }
    }

    #[test]
    fn jitter_takes_up_to_a_half_off() {
        let (pacing, now) = (Pacing::default(), Instant::now());
        pacing.rejected(now, now, None, 1.0);
        assert_eq!(pacing.delay(now).as_millis(), 50);
    }
}
