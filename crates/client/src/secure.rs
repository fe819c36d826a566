//! What is below the session of a dialled connection: nothing, or TLS.

use std::sync::Arc;

use kv_proto::Transport;
use tokio::net::TcpStream;

use crate::error::Error;
use crate::handshake::Opening;
use crate::link::Link;
use crate::route::BoxedDriver;

#[cfg(feature = "tls")]
use crate::tls::Connector;

/// Stands in for the connector where TLS was left out of the build; there is none of it.
#[cfg(not(feature = "tls"))]
#[derive(Clone)]
pub(crate) enum Connector {}

pub(crate) enum Security {
    Plain,
    Tls(Connector),
}

impl Security {
    pub(crate) async fn open(
        &self,
        stream: TcpStream,
        opening: &Opening,
    ) -> Result<(Arc<Link>, BoxedDriver), Error> {
        match self {
            Self::Plain => opening.open(stream, Transport::Plain).await,
            Self::Tls(connector) => open_tls(connector, stream, opening).await,
        }
    }
}

#[cfg(feature = "tls")]
async fn open_tls(
    connector: &Connector,
    stream: TcpStream,
    opening: &Opening,
) -> Result<(Arc<Link>, BoxedDriver), Error> {
    let (stream, binding) = connector.secure(stream).await?;
    opening.open(stream, Transport::Tls(binding)).await
}

#[cfg(not(feature = "tls"))]
async fn open_tls(
    connector: &Connector,
    _: TcpStream,
    _: &Opening,
) -> Result<(Arc<Link>, BoxedDriver), Error> {
    match *connector {}
}
