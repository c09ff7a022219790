//! Looks up host names, once a run: ureq would do it for each request. A run only ever looks up one name, the API's
//! or the proxy's.

use std::fmt::{self, Debug, Display, Formatter};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver as UreqResolver};
use ureq::unversioned::transport::NextTimeout;

/// How long a request waits for a name to be looked up again, before it takes the addresses of before.
const REFRESH: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub(super) struct Resolver(Arc<Shared>);

struct Shared {
    lookup: Lookup,
    state: Mutex<State>,
    /// A lookup has ended.
    ended: Condvar,
}

/// Takes `HOST:PORT`.
type Lookup = Box<dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

#[derive(Default)]
struct State {
    addresses: Vec<SocketAddr>,
    /// Those that could not be connected to, in the order in which that was last seen.
    failed: Vec<SocketAddr>,
    /// Whether they should be looked up again.
    is_stale: bool,
    /// Whether a lookup is under way. It is never given up, as glibc asks its second name server only after 5 s.
    is_under_way: bool,
    /// How many lookups have ended, and why the last one failed.
    lookups: usize,
    failure: String,
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
        Resolver(Arc::new(Shared { lookup: Box::new(lookup), state: Mutex::default(), ended: Condvar::new() }))
    }

    /// Has the next connection look the name up again: after a failed one, it may have other addresses by now.
    pub(super) fn refresh(&self) {
        self.0.state.lock().unwrap().is_stale = true;
    }

    /// Has the next connections try this address after the others.
    pub(super) fn put_last(&self, address: SocketAddr) {
        let mut state = self.0.state.lock().unwrap();
        state.failed.retain(|failed| *failed != address);
        state.failed.push(address);
    }

    fn addresses(&self, host_and_port: &str, timeout: Duration) -> Result<Vec<SocketAddr>, LookupError> {
        let mut state = self.0.state.lock().unwrap();
        if state.is_stale || state.addresses.is_empty() {
            let lookups = state.lookups;
            if !state.is_under_way {
                state.is_under_way = true;
                drop(state);
                let (resolver, name) = (self.clone(), host_and_port.to_owned());
                if thread::Builder::new().spawn(move || resolver.look_up(&name)).is_err() {
                    // The system's own timeout has to do if no thread can be started.
                    self.look_up(host_and_port);
                }
                state = self.0.state.lock().unwrap();
            }
            let timeout = if state.addresses.is_empty() { timeout } else { timeout.min(REFRESH) };
            let wait = self.0.ended.wait_timeout_while(state, timeout, |state| state.lookups == lookups);
            state = wait.unwrap().0;
            if state.addresses.is_empty() {
                let failure = LookupError::Failed(state.failure.clone());
                return Err(if state.lookups == lookups { LookupError::TimedOut } else { failure });
            }
        }
        let mut addresses = state.addresses.clone();
        // `None`, an address that has not failed, comes first.
        addresses.sort_by_key(|address| state.failed.iter().position(|failed| failed == address));
        Ok(addresses)
    }

    /// Looks the name up. If that fails, the addresses of before are better than none.
    fn look_up(&self, host_and_port: &str) {
        let found = (self.0.lookup)(host_and_port);
        let mut state = self.0.state.lock().unwrap();
        match found {
            Ok(addresses) if addresses.is_empty() => state.failure = "it has no addresses".into(),
            Ok(addresses) => state.addresses = addresses,
            Err(error) => state.failure = error.to_string(),
        }
        (state.is_stale, state.is_under_way) = (false, false);
        state.lookups += 1;
        self.0.ended.notify_all();
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
    fn a_lookup_that_is_under_way_is_kept() {
        let (resolver, count) = counting(|| Ok(vec![([127, 0, 0, 1], 1).into()]));
        let error = resolver.addresses("a.test:1", Duration::from_millis(1)).unwrap_err();
        assert!(matches!(error, LookupError::TimedOut), "{error}");
        // As the client does after a failed connection.
        resolver.refresh();
        assert_eq!(resolver.addresses("a.test:1", SOON).unwrap().len(), 1);
        assert_eq!(count.load(Ordering::SeqCst), 1);

        let (resolver, _) = counting(|| Ok(Vec::new()));
        assert_eq!(resolver.addresses("a.test:1", SOON).unwrap_err().to_string(), "it has no addresses");
    }

    #[test]
    fn an_address_that_failed_comes_last() {
        let all: Vec<SocketAddr> = (1..=3).map(|port| ([127, 0, 0, 1], port).into()).collect();
        let known = all.clone();
        let resolver = Resolver::with(move |_| Ok(known.clone()));
        let ports = || resolver.addresses("a.test:1", SOON).unwrap().iter().map(SocketAddr::port).collect::<Vec<_>>();
        for (failed, expected) in [(0, [2, 3, 1]), (1, [3, 1, 2]), (0, [3, 2, 1]), (2, [2, 1, 3])] {
            resolver.put_last(all[failed]);
            assert_eq!(ports(), expected);
            // The system gives them in its own order again.
            resolver.refresh();
            assert_eq!(ports(), expected);
        }
    }
}
