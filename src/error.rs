//! Why a request failed, in words for the user, and what that means for other requests.

use std::fmt::{self, Display, Formatter};

use crate::retry::Retry;

#[derive(Clone, Debug)]
pub struct RequestError {
    /// What went wrong, the same for every request that meets the same error.
    pub message: String,
    /// The request ID and the attempts, for instance: what holds for this request alone.
    pub notes: Vec<String>,
    /// What to do about it; empty if that is not clear.
    pub advice: String,
    pub retry: Retry,
    pub kind: Kind,
}

impl Display for RequestError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason())?;
        if self.advice.is_empty() { Ok(()) } else { write!(f, "; {}", self.advice) }
    }
}

/// How far the request got.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// No connection could be made.
    Connection,
    /// A connection, but it was closed before anything came over it.
    NoResponse,
    /// A connection, but nothing came over it in time.
    TimedOut,
    /// A response with this status; `from_api` if it has an error object of the API's, and is no gateway's page.
    Status { status: u16, from_api: bool },
    /// No response that can be used.
    Response,
}

impl RequestError {
    pub fn new(message: String, advice: String, retry: Retry, kind: Kind) -> Self {
        RequestError { message, notes: Vec::new(), advice, retry, kind }
    }

    pub fn with_note(mut self, note: Option<String>) -> Self {
        self.notes.extend(note);
        self
    }

    pub fn with_attempts(self, attempts: u32) -> Self {
        self.with_note((attempts > 1).then(|| format!("after {attempts} attempts")))
    }

    /// What went wrong, without the advice.
    pub fn reason(&self) -> String {
        self.notes.iter().fold(self.message.clone(), |reason, note| format!("{reason} ({note})"))
    }

    /// Whether another connection may do better.
    pub fn is_of_connection(&self) -> bool {
        matches!(self.kind, Kind::Connection | Kind::NoResponse | Kind::TimedOut)
    }

    /// Whether the API has refused the request for good: the key, the permission, or the job's ID.
    pub fn is_api_refusal(&self) -> bool {
        matches!(self.kind, Kind::Status { status: 401 | 403 | 404, from_api: true })
    }

    /// Whether all other jobs of a batch would be refused in the same way. What a gateway says counts only as long as
    /// nothing else of this run `has_succeeded`.
    pub fn ends_batch(&self, has_succeeded: bool) -> bool {
        match self.kind {
            Kind::Status { status: 401 | 403, from_api: true } => true,
            Kind::Status { status: 300..=399 | 401 | 403, .. } => !has_succeeded,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_error_for_all_jobs_ends_a_batch() {
        let ends = |status, from_api, has_succeeded| {
            let kind = Kind::Status { status, from_api };
            RequestError::new(String::new(), String::new(), Retry::Never, kind).ends_batch(has_succeeded)
        };
        for status in [401, 403] {
            assert!(ends(status, true, true) && ends(status, true, false), "{status}");
        }
        // From a gateway, perhaps of one of its machines alone.
        for status in [302, 401, 403] {
            assert!(!ends(status, false, true) && ends(status, false, false), "{status}");
        }
        for status in [400, 404, 500] {
            assert!(!ends(status, true, false) && !ends(status, false, false), "{status}");
        }
    }
}
