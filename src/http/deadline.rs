//! Until when requests may take, and which query key says so.

use std::time::{Duration, Instant};

use crate::text::duration;

/// The longest that `timeout` can be.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// The time that several requests have together, retries and their pauses included.
#[derive(Clone, Copy)]
pub struct Deadline {
    at: Instant,
    /// The query key that sets it, for messages.
    pub(super) key: &'static str,
    /// What that key allows in all, for messages.
    allowed: Duration,
}

impl Deadline {
    /// The end of `timeout`, which begins now.
    pub fn timeout(timeout: Duration) -> Self {
        Self::from(Instant::now(), timeout)
    }

    pub(super) fn from(start: Instant, timeout: Duration) -> Self {
        Deadline { at: start + timeout, key: "timeout", allowed: timeout }
    }

    /// The end of a wait that is `wait` long in all.
    pub fn wait(end: Instant, wait: Duration) -> Self {
        Deadline { at: end, key: "wait", allowed: wait }
    }

    /// The one that comes first.
    pub fn min(self, other: Deadline) -> Self {
        if other.at < self.at { other } else { self }
    }

    pub(super) fn left(&self, now: Instant) -> Duration {
        self.at.saturating_duration_since(now)
    }

    /// What to do if it is too short.
    pub fn advice(&self) -> String {
        format!("allow more time with {}", self.key)
    }

    /// How messages name it, such as "the timeout of 1m".
    pub(super) fn name(&self) -> String {
        format!("the {} of {}", self.key, duration(self.allowed))
    }
}
