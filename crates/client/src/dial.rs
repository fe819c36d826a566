//! Making connections: TCP, TLS where it is asked for, then the session's handshake, all under the
//! connect timeout.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use kv_proto::Transport;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::error::{Error, ErrorKind, Retry};
use crate::handshake::Opening;
use crate::link::Link;
use crate::route::{BoxedDriver, Dial, Dialing};
use crate::secure::Security;
use crate::socket;

type Dialled = Result<(Arc<Link>, BoxedDriver), Error>;

async fn within(limit: Duration, dialling: impl Future<Output = Dialled> + Send) -> Dialled {
    timeout(limit, dialling)
        .await
        .unwrap_or_else(|_| Err(Error::connect(io::ErrorKind::TimedOut.into())))
}

/// Dials an address.
pub(crate) struct TcpDial {
    pub(crate) host: Box<str>,
    pub(crate) port: u16,
    pub(crate) security: Security,
    pub(crate) opening: Opening,
    pub(crate) connect_timeout: Duration,
}

impl Dial for TcpDial {
    fn dial(&self) -> Dialing<'_> {
        Box::pin(within(self.connect_timeout, async move {
            let stream = socket::connect(&self.host, self.port)
                .await
                .map_err(Error::connect)?;
            self.security.open(stream, &self.opening).await
        }))
    }
}

/// Uses streams that a function makes.
pub(crate) struct FnDial<F> {
    pub(crate) connect: F,
    pub(crate) opening: Opening,
    pub(crate) connect_timeout: Duration,
}

impl<F, T, S> Dial for FnDial<F>
where
    F: Fn() -> T + Send + Sync + 'static,
    T: Future<Output = io::Result<S>> + Send,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    fn dial(&self) -> Dialing<'_> {
        Box::pin(within(self.connect_timeout, async move {
            let stream = (self.connect)().await.map_err(Error::connect)?;
            self.opening.open(stream, Transport::Plain).await
        }))
    }
}

/// Uses one stream once.
pub(crate) struct OnceDial<S> {
    pub(crate) stream: Mutex<Option<S>>,
    pub(crate) opening: Opening,
    pub(crate) connect_timeout: Duration,
}

impl<S> Dial for OnceDial<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    fn dial(&self) -> Dialing<'_> {
        let stream = self.stream.lock().take();
        Box::pin(within(self.connect_timeout, async move {
            let lost = || Error::new(ErrorKind::ConnectionLost, Retry::No);
            self.opening
                .open(stream.ok_or_else(lost)?, Transport::Plain)
                .await
        }))
    }
}
