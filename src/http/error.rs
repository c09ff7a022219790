//! Why a request failed, in words for the user, and what that means for other requests.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct RequestError {
    /// What went wrong, the same for every request that meets the same error.
    pub message: String,
    /// What holds for this request alone, such as the request ID and the number of attempts.
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
    /// A connection that was kept alive had been closed meanwhile.
    Stale,
    /// A new connection, but it was closed before anything came over it.
    NoResponse,
    /// A connection, but nothing came over it in time.
    TimedOut,
    /// A response with this status; `from_api` if it has an error object of the API's, and is no gateway's page.
    Status { status: u16, from_api: bool },
    /// No response that can be used.
    Response,
    /// No access token to send it with: the exchange was refused, or could not be made.
    TokenExchange { is_refused: bool },
    /// A response that is more than a run keeps.
    TooMuch,
}

/// What may help against an error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Retry {
    /// Nothing: the same request would fail again.
    Never,
    /// A later poll, but no retry at once.
    Later,
    /// A retry after the pause that the server names, else after the backoff.
    After(Option<Duration>),
    /// A new access token, which the next attempt gets.
    NewToken,
    /// Fewer requests: the next one after the pause that the server names, else at the rate that `pacing` finds.
    RateLimited(Option<Duration>),
}

impl Kind {
    /// Whether the server has answered, in whatever way.
    pub(super) fn is_answer(self) -> bool {
        matches!(self, Kind::Status { .. } | Kind::Response | Kind::TooMuch)
    }
}

impl RequestError {
    pub fn new(message: String, advice: String, retry: Retry, kind: Kind) -> Self {
        RequestError { message, notes: Vec::new(), advice, retry, kind }
    }

    pub(super) fn with_note(mut self, note: Option<String>) -> Self {
        self.notes.extend(note);
        self
    }

    /// What went wrong, without the advice.
    pub fn reason(&self) -> String {
        self.notes.iter().fold(self.message.clone(), |reason, note| format!("{reason} ({note})"))
    }

    /// Whether the API has refused the request for good (the key, the permission, the job's ID or the identity), or the
    /// server does not know such a request (501).
    pub fn is_api_refusal(&self) -> bool {
        matches!(
            self.kind,
            Kind::Status { status: 401 | 403 | 404, from_api: true }
                | Kind::Status { status: 501, .. }
                | Kind::TokenExchange { is_refused: true }
        )
    }

    /// Whether all other requests of a batch would fail in the same way. What a gateway says counts only as long as
    /// nothing else of this run `has_succeeded`.
    pub(super) fn ends_batch(&self, has_succeeded: bool) -> bool {
        match self.kind {
            Kind::Status { status: 401 | 403, from_api: true } | Kind::TokenExchange { .. } | Kind::TooMuch => true,
            Kind::Status { status: 300..=399 | 401 | 403, .. } => !has_succeeded,
            _ => false,
        }
    }
}
