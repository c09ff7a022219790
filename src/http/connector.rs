//! Opens connections as ureq does, but goes on to the next address after any error of one. Remembers at which step a
//! connection failed, and what a proxy answered.

use std::cell::Cell;
use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, NextTimeout, RustlsConnector, TcpConnector,
    Transport, time,
};

use super::resolver::{LookupError, Resolver};

/// A connection is made in these steps; one to an https proxy makes `Tcp` and `Tls` twice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    Tcp,
    /// The proxy's answer to CONNECT.
    Proxy,
    Tls,
}

/// Why a connection could not be made. It goes through ureq as `ureq::Error::Other`.
#[derive(Debug)]
pub(super) struct ConnectError {
    pub(super) step: Step,
    /// Whether it was the connection to the proxy, if there is one, rather than the one through it.
    pub(super) is_direct: bool,
    pub(super) error: ureq::Error,
}

impl std::error::Error for ConnectError {}

impl Display for ConnectError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

thread_local! {
    static ADDRESS: Cell<Option<SocketAddr>> = const { Cell::new(None) };
}

/// Sends a request, and says to which address it opened a connection, unless it reused one that was kept alive.
pub(super) fn noting_address<T>(send: impl FnOnce() -> T) -> (T, Option<SocketAddr>) {
    ADDRESS.set(None);
    let result = send();
    (result, ADDRESS.get())
}

/// The steps of ureq's own connector.
pub(super) fn connector(resolver: Resolver) -> impl Connector {
    ().chain(WithStep { inner: WithAnswer(ConnectProxyConnector::default()), step: Step::Proxy })
        .chain(WithStep { inner: AddressByAddress { resolver, tcp: TcpConnector::default() }, step: Step::Tcp })
        .chain(WithStep { inner: RustlsConnector::default(), step: Step::Tls })
}

/// A connector that says in its errors which step it is.
#[derive(Debug)]
struct WithStep<C> {
    inner: C,
    step: Step,
}

impl<In: Transport, C: Connector<In>> Connector<In> for WithStep<C> {
    type Out = C::Out;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<C::Out>, ureq::Error> {
        self.inner.connect(details, chained).map_err(|error| match error {
            // From the connection to the proxy, or from the lookup of its name.
            ureq::Error::Other(inner) if inner.is::<ConnectError>() || inner.is::<LookupError>() => {
                ureq::Error::Other(inner)
            }
            error => {
                let is_direct = details.config.proxy().is_none();
                ureq::Error::Other(Box::new(ConnectError { step: self.step, is_direct, error }))
            }
        })
    }
}

/// ureq's own connector goes on to the next address after some errors only, and does not say which address failed.
#[derive(Debug)]
struct AddressByAddress {
    resolver: Resolver,
    tcp: TcpConnector,
}

impl<In: Transport> Connector<In> for AddressByAddress {
    type Out = <TcpConnector as Connector<In>>::Out;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, ureq::Error> {
        if chained.is_some() {
            return self.tcp.connect(details, chained);
        }
        let start = Instant::now();
        let mut result = Err(ureq::Error::HostNotFound);
        for (number, address) in details.addrs.iter().enumerate() {
            let left = details.timeout.after.saturating_sub(start.elapsed());
            // All but the last address leave half of the time for the others.
            let after = if number + 1 == details.addrs.len() { left } else { left / 2 };
            let mut addrs = details.resolver.empty();
            addrs.push(*address);
            let timeout = NextTimeout { after: time::Duration::Exact(after), ..details.timeout };
            result = self.tcp.connect(&ConnectionDetails { addrs, timeout, ..copy(details) }, None);
            if result.is_ok() {
                ADDRESS.set(Some(*address));
                break;
            }
            self.resolver.put_last(*address);
        }
        result
    }
}

/// ureq's own connector says of a proxy's refusal only its status.
#[derive(Debug)]
struct WithAnswer(ConnectProxyConnector);

impl<In: Transport> Connector<In> for WithAnswer {
    type Out = <ConnectProxyConnector as Connector<In>>::Out;

    /// # Errors
    /// `ConnectProxyFailed` has the head of the proxy's answer in place of ureq's words, if it is a refusal.
    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, ureq::Error> {
        if details.config.proxy().is_none() {
            return self.0.connect(details, chained);
        }
        let heard: Arc<Mutex<Vec<u8>>> = Arc::default();
        let (run_connector, note) = (details.run_connector.clone(), Arc::downgrade(&heard));
        let (start, limit) = (Instant::now(), *details.timeout.after);
        let run_connector = Arc::new(move |details: &ConnectionDetails| {
            let transport = run_connector(details)?;
            Ok(Box::new(Listening { transport, heard: note.clone(), start, limit }) as Box<dyn Transport>)
        });
        self.0.connect(&ConnectionDetails { run_connector, ..copy(details) }, chained).map_err(|error| match error {
            ureq::Error::ConnectProxyFailed(text) if text.contains("responded") => {
                let heard = heard.lock().unwrap();
                ureq::Error::ConnectProxyFailed(String::from_utf8_lossy(&heard).into_owned())
            }
            error => error,
        })
    }
}

/// A connection to a proxy whose answer is noted, for as long as anybody wants it.
#[derive(Debug)]
struct Listening {
    transport: Box<dyn Transport>,
    heard: Weak<Mutex<Vec<u8>>>,
    start: Instant,
    /// How long it may take from the start until the answer is complete.
    limit: Duration,
}

impl Transport for Listening {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.transport.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.transport.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let Some(heard) = self.heard.upgrade() else {
            return self.transport.await_input(timeout);
        };
        // ureq would give each read all the time again.
        let left = self.limit.saturating_sub(self.start.elapsed());
        if left.is_zero() {
            return Err(ureq::Error::Timeout(timeout.reason));
        }
        let timeout = NextTimeout { after: time::Duration::Exact(left), ..timeout };
        let progress = self.transport.await_input(timeout)?;
        // ureq takes the answer from the buffer only once it is complete.
        *heard.lock().unwrap() = self.transport.buffers().input().to_vec();
        Ok(progress)
    }

    fn is_open(&mut self) -> bool {
        self.transport.is_open()
    }

    fn is_tls(&self) -> bool {
        self.transport.is_tls()
    }
}

fn copy<'a>(details: &ConnectionDetails<'a>) -> ConnectionDetails<'a> {
    ConnectionDetails {
        uri: details.uri,
        addrs: details.addrs.clone(),
        config: details.config,
        request_level: details.request_level,
        resolver: details.resolver,
        now: details.now,
        timeout: details.timeout,
        current_time: details.current_time.clone(),
        run_connector: details.run_connector.clone(),
        register_shutdown: details.register_shutdown.clone(),
    }
}
