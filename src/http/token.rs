//! The access token of a run: one, however many requests are sent at once. It is minted when it is first needed, and again
//! before it expires or once the API no longer accepts it.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::deadline::Deadline;
use super::error::{Kind, RequestError, Retry};
use crate::text::Secret;

/// The shortest time between two renewals, of which the first failed.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// A token as it was minted.
pub(super) struct Minted {
    pub(super) secret: Secret,
    /// When it was asked for.
    pub(super) asked: Instant,
    /// How long it can be used from then on; `None` if that is not known.
    pub(super) life: Option<Duration>,
}

/// A token as it is used.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) secret: Secret,
    /// Tells the tokens of a run apart.
    number: u32,
    /// Whether the API has accepted it.
    is_accepted: bool,
    /// Whether the API has refused it after that.
    is_refused: bool,
    renewal: Option<Instant>,
    expiry: Option<Instant>,
}

impl Token {
    fn new(Minted { secret, asked, life }: Minted, number: u32) -> Self {
        let after = |share: u32| life.map(|life| asked + life * share / 4);
        Token { secret, number, is_accepted: false, is_refused: false, renewal: after(3), expiry: after(4) }
    }

    fn is_alive(&self, now: Instant) -> bool {
        !self.is_refused && self.expiry.is_none_or(|expiry| now < expiry)
    }

    fn needs_renewal(&self, now: Instant) -> bool {
        self.is_refused || self.renewal.is_some_and(|renewal| renewal <= now)
    }
}

pub(super) struct Tokens<'a> {
    mint: Mint<'a>,
    state: Mutex<State>,
}

type Mint<'a> = Box<dyn Fn(&Deadline) -> Result<Minted, RequestError> + Send + Sync + 'a>;

#[derive(Default)]
struct State {
    token: Option<Token>,
    /// Why the last one could not be minted, and when that was known.
    failure: Option<(Instant, RequestError)>,
}

impl<'a> Tokens<'a> {
    /// Mints no token yet.
    pub(super) fn new(mint: impl Fn(&Deadline) -> Result<Minted, RequestError> + Send + Sync + 'a) -> Self {
        Tokens { mint: Box::new(mint), state: Mutex::default() }
    }

    /// The token for a request. While one is minted, others wait for it, and share it or the error.
    pub(super) fn token(&self, deadline: &Deadline) -> Result<Token, RequestError> {
        let start = Instant::now();
        let mut state = self.state.lock().unwrap();
        let now = Instant::now();
        if let Some(token) = state.token.as_ref().filter(|token| !token.needs_renewal(now)) {
            return Ok(token.clone());
        }
        if let Some((_, error)) = state.failure.as_ref().filter(|(end, _)| *end >= start) {
            return Err(error.clone());
        }
        let number = state.token.as_ref().map_or(0, |token| token.number + 1);
        if let Some(old) = state.token.as_mut().filter(|token| token.is_alive(now)) {
            // Ahead of time: it may take a third of the time that is left, and fail.
            let sooner = deadline.min(Deadline::timeout(deadline.left(now) / 3));
            match (self.mint)(&sooner) {
                Ok(minted) => *old = Token::new(minted, number),
                Err(_) => {
                    let left = old.expiry.map(|expiry| expiry.saturating_duration_since(now) / 4);
                    old.renewal = Some(Instant::now() + left.unwrap_or_default().max(SHORTEST_PAUSE));
                }
            }
            return Ok(old.clone());
        }
        match (self.mint)(deadline) {
            Ok(minted) => Ok(state.token.insert(Token::new(minted, number)).clone()),
            Err(error) => {
                state.failure = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// Notes what became of a request with this token. After a 401, a new one may help if the API had accepted this one.
    pub(super) fn note<T>(&self, used: &Token, result: Result<T, RequestError>) -> Result<T, RequestError> {
        let mut state = self.state.lock().unwrap();
        // `None` if it has been replaced since.
        let current = state.token.as_mut().filter(|token| token.number == used.number);
        match (result, current) {
            (Ok(answer), Some(token)) => {
                token.is_accepted = true;
                Ok(answer)
            }
            (Err(error), current) if matches!(error.kind, Kind::Status { status: 401, .. }) => {
                if let Some(token) = current {
                    if !token.is_accepted {
                        return Err(error);
                    }
                    token.is_refused = true;
                }
                Err(RequestError { retry: Retry::NewToken, ..error })
            }
            (result, _) => result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;

    use super::*;

    const HOUR: Duration = Duration::from_secs(60 * 60);

    fn deadline() -> Deadline {
        Deadline::timeout(HOUR)
    }

    /// Tokens that are asked for so long before now, each for an hour; after the first `working` ones, minting fails.
    fn tokens(minted: &AtomicU32, age: Duration, working: u32) -> Tokens<'_> {
        Tokens::new(move |_| {
            let number = minted.fetch_add(1, Ordering::SeqCst);
            if number >= working {
                return Err(error(Kind::TokenExchange { is_refused: true }));
            }
            let asked = Instant::now().checked_sub(age).unwrap();
            Ok(Minted { secret: Secret::new(format!("token-{number}")), asked, life: Some(HOUR) })
        })
    }

    fn error(kind: Kind) -> RequestError {
        RequestError::new("no".into(), String::new(), Retry::Never, kind)
    }

    fn unauthorized() -> Result<(), RequestError> {
        Err(error(Kind::Status { status: 401, from_api: true }))
    }

    fn retry(result: Result<(), RequestError>) -> Retry {
        result.unwrap_err().retry
    }

    #[test]
    fn a_token_serves_until_three_quarters_of_its_life() {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        for (age, expected) in [(minutes(0), 1), (minutes(44), 1), (minutes(46), 3)] {
            let minted = AtomicU32::new(0);
            let tokens = tokens(&minted, age, 9);
            (0..3).for_each(|_| drop(tokens.token(&deadline()).unwrap()));
            assert_eq!(minted.load(Ordering::SeqCst), expected, "{age:?}");
        }
    }

    #[test]
    fn a_token_without_a_known_life_is_not_renewed() {
        let minted = AtomicU32::new(0);
        let tokens = Tokens::new(|_| {
            minted.fetch_add(1, Ordering::SeqCst);
            Ok(Minted { secret: Secret::new("token".into()), asked: Instant::now(), life: None })
        });
        (0..3).for_each(|_| drop(tokens.token(&deadline()).unwrap()));
        assert_eq!(minted.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_renewal_may_fail_while_the_token_lives() {
        for (age, lives) in [(HOUR * 4 / 5, true), (HOUR, false)] {
            let minted = AtomicU32::new(0);
            let tokens = tokens(&minted, age, 1);
            tokens.token(&deadline()).unwrap();
            assert_eq!(tokens.token(&deadline()).is_ok(), lives);
            // It is not tried again at once.
            assert_eq!(tokens.token(&deadline()).is_ok(), lives);
            assert_eq!(minted.load(Ordering::SeqCst), if lives { 2 } else { 3 });
        }
    }

    #[test]
    fn those_who_wait_share_a_token_or_an_error() {
        for working in [0, 1] {
            let minted = AtomicU32::new(0);
            let slow = tokens(&minted, Duration::ZERO, working);
            let slow = Tokens::new(|deadline: &Deadline| {
                // Long enough for the other threads to wait for this one.
                thread::sleep(Duration::from_millis(300));
                (slow.mint)(deadline)
            });
            let barrier = Barrier::new(8);
            let (slow, barrier) = (&slow, &barrier);
            thread::scope(|scope| {
                let ask = |_| {
                    scope.spawn(move || {
                        barrier.wait();
                        slow.token(&deadline()).is_ok()
                    })
                };
                let threads: Vec<_> = (0..8).map(ask).collect();
                threads.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), working == 1));
            });
            assert_eq!(minted.load(Ordering::SeqCst), 1);
        }
    }

    #[test]
    fn only_a_token_that_was_accepted_is_renewed_after_a_401() {
        let minted = AtomicU32::new(0);
        let tokens = tokens(&minted, Duration::ZERO, 9);
        let first = tokens.token(&deadline()).unwrap();
        assert_eq!(retry(tokens.note(&first, unauthorized())), Retry::Never);
        tokens.note(&first, Ok(())).unwrap();
        // Two requests had it, and get one new token.
        assert_eq!(retry(tokens.note(&first, unauthorized())), Retry::NewToken);
        let second = tokens.token(&deadline()).unwrap();
        assert_eq!(retry(tokens.note(&first, unauthorized())), Retry::NewToken);
        assert_eq!(tokens.token(&deadline()).unwrap().number, second.number);
        assert_eq!(retry(tokens.note(&second, unauthorized())), Retry::Never);
        // No other error of a request concerns the token.
        assert_eq!(retry(tokens.note(&second, Err(error(Kind::Connection)))), Retry::Never);
        assert_eq!(minted.load(Ordering::SeqCst), 2);
    }
}
