//! Opens connections as ureq does, and remembers at which step one failed.

use std::cell::Cell;
use std::fmt::{self, Display, Formatter};

use ureq::unversioned::transport::{
    ConnectProxyConnector, ConnectionDetails, Connector, RustlsConnector, TcpConnector, Transport,
};

use super::resolver::LookupError;

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
    /// Whether it was the connection to the proxy, where there is one, rather than the one through it.
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
    static CONNECTS: Cell<bool> = const { Cell::new(false) };
}

/// Sends a request, and says whether it opened a connection instead of reusing one that was kept alive.
pub(super) fn noting_connections<T>(send: impl FnOnce() -> T) -> (T, bool) {
    CONNECTS.set(false);
    let result = send();
    (result, CONNECTS.get())
}

/// The steps of ureq's own connector.
pub(super) fn connector() -> impl Connector {
    ().chain(WithStep { inner: ConnectProxyConnector::default(), step: Step::Proxy })
        .chain(WithStep { inner: TcpConnector::default(), step: Step::Tcp })
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
        CONNECTS.set(true);
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
