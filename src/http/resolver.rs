//! Looks up host names, once a run where ureq would do it for each request. A run only ever looks up one name, the API's
//! or the proxy's.

use std::fmt::{self, Debug, Display, Formatter};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver as UreqResolver};
use ureq::unversioned::transport::NextTimeout;

#[derive(Clone)]
pub(super) struct Resolver {
    lookup: Lookup,
    state: Arc<Mutex<State>>,
}

/// Takes `HOST:PORT`. An `Arc`, as the thread that runs it may outlive the time allowed.
type Lookup = Arc<dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

#[derive(Default)]
struct State {
    addresses: Option<Vec<SocketAddr>>,
    /// Whether they should be looked up again.
    is_stale: bool,
    /// The last lookup that failed, and when it ended.
    failure: Option<(Instant, LookupError)>,
}

/// Why a name has no addresses. It goes through ureq as `ureq::Error::Other`.
#[derive(Clone, Debug)]
pub(super) enum LookupError {
    TimedOut,
    /// In the system's own words.
    Failed(String),
}

impl std::error::Error for LookupError {}

impl Display for LookupError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            LookupError::TimedOut => f.write_str("timed out"),
            LookupError::Failed(reason) => f.write_str(reason),
        }
    }
}

impl Resolver {
    pub(super) fn new() -> Self {
        Self::with(|host_and_port| host_and_port.to_socket_addrs().map(Iterator::collect))
    }

    pub(super) fn with(lookup: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Self {
        Resolver { lookup: Arc::new(lookup), state: Arc::default() }
    }

    /// Has the next connection look the name up again: after a failed one, it may have other addresses by now.
    pub(super) fn refresh(&self) {
        self.state().is_stale = true;
    }

    fn addresses(&self, host_and_port: &str, timeout: Duration) -> Result<Vec<SocketAddr>, LookupError> {
        let start = Instant::now();
        let mut state = self.state();
        if let Some(addresses) = state.addresses.as_ref().filter(|_| !state.is_stale) {
            return Ok(addresses.clone());
        }
        // A failed lookup that ended while this thread waited for the lock holds for it too.
        if let Some((_, error)) = state.failure.as_ref().filter(|(end, _)| *end >= start) {
            return Err(error.clone());
        }
        match (self.look_up(host_and_port, timeout), &state.addresses) {
            (Ok(addresses), _) => state.addresses = Some(addresses),
            // Stale addresses are better than none.
            (Err(_), Some(_)) => {}
            (Err(error), None) => {
                state.failure = Some((Instant::now(), error.clone()));
                return Err(error);
            }
        }
        state.is_stale = false;
        Ok(state.addresses.clone().unwrap_or_default())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look_up(&self, host_and_port: &str, timeout: Duration) -> Result<Vec<SocketAddr>, LookupError> {
        let (sender, receiver) = mpsc::channel();
        let (lookup, name) = (self.lookup.clone(), host_and_port.to_owned());
        let thread = thread::Builder::new().spawn(move || sender.send(lookup(&name)));
        let addresses = match thread {
            Ok(_) => receiver.recv_timeout(timeout).map_err(|_| LookupError::TimedOut)?,
            // Where no thread can be started, the system's own timeout has to do.
            Err(_) => (self.lookup)(host_and_port),
        };
        match addresses {
            Ok(addresses) if addresses.is_empty() => Err(LookupError::Failed("it has no addresses".into())),
            Ok(addresses) => Ok(addresses),
            Err(error) => Err(LookupError::Failed(error.to_string())),
        }
    }
}

impl Debug for Resolver {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

impl UreqResolver for Resolver {
    fn resolve(&self, uri: &Uri, _: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let parts = uri.scheme().zip(uri.authority());
        let host_and_port = parts.and_then(|(scheme, authority)| DefaultResolver::host_and_port(scheme, authority));
        let host_and_port = host_and_port.ok_or(ureq::Error::HostNotFound)?;
        let addresses = match host_and_port.parse() {
            Ok(address) => vec![address],
            Err(_) => {
                self.addresses(&host_and_port, *timeout.after).map_err(|error| ureq::Error::Other(Box::new(error)))?
            }
        };
        let mut resolved = self.empty();
        // As many as ureq has room for.
        addresses.into_iter().take(16).for_each(|address| resolved.push(address));
        Ok(resolved)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const SOON: Duration = Duration::from_secs(30);

    fn counting(result: fn() -> io::Result<Vec<SocketAddr>>) -> (Resolver, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let counter = count.clone();
        let resolver = Resolver::with(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            // Long enough for the other threads to wait for this one.
            thread::sleep(Duration::from_millis(200));
            result()
        });
        (resolver, count)
    }

    #[test]
    fn a_name_is_looked_up_once_until_it_is_refreshed() {
        let (resolver, count) = counting(|| Ok(vec![([127, 0, 0, 1], 1).into()]));
        let barrier = Barrier::new(8);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    barrier.wait();
                    assert_eq!(resolver.addresses("a.test:1", SOON).unwrap().len(), 1);
                });
            }
        });
        assert_eq!(count.load(Ordering::SeqCst), 1);
        resolver.refresh();
        resolver.addresses("a.test:1", SOON).unwrap();
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn all_who_wait_for_a_failed_lookup_get_its_reason() {
        let (resolver, count) = counting(|| Err(io::Error::other("temporary failure")));
        let barrier = Barrier::new(8);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    barrier.wait();
                    let error = resolver.addresses("a.test:1", SOON).unwrap_err();
                    assert_eq!(error.to_string(), "temporary failure");
                    // As the client does, while others still wait for the lookup.
                    resolver.refresh();
                });
            }
        });
        assert_eq!(count.load(Ordering::SeqCst), 1);
        // A failed lookup is not kept.
        resolver.addresses("a.test:1", SOON).unwrap_err();
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn stale_addresses_are_used_where_a_name_is_not_found_any_more() {
        let lookups = AtomicUsize::new(0);
        let resolver = Resolver::with(move |_| match lookups.fetch_add(1, Ordering::SeqCst) {
            0 => Ok(vec![([127, 0, 0, 1], 1).into()]),
            1 => Err(io::Error::other("temporary failure")),
            _ => panic!("a lookup that nobody wanted"),
        });
        resolver.addresses("a.test:1", SOON).unwrap();
        resolver.refresh();
        for _ in 0..2 {
            assert_eq!(resolver.addresses("a.test:1", SOON).unwrap().len(), 1);
        }
    }

    #[test]
    fn a_lookup_takes_no_longer_than_allowed() {
        let (resolver, _) = counting(|| Ok(Vec::new()));
        let error = resolver.addresses("a.test:1", Duration::from_millis(1)).unwrap_err();
        assert!(matches!(error, LookupError::TimedOut), "{error}");
        let error = resolver.addresses("a.test:1", SOON).unwrap_err();
        assert_eq!(error.to_string(), "it has no addresses");
    }
}
