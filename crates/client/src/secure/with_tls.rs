//! Plain TCP, or TLS and the session bound to it.

use std::sync::Arc;

use kv_proto::Transport;
use tokio::net::TcpStream;

use crate::error::Error;
use crate::handshake::Opening;
use crate::link::Link;
use crate::route::BoxedDriver;
use crate::tls::Connector;

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
            Self::Tls(connector) => {
                let (stream, binding) = connector.secure(stream).await?;
                opening.open(stream, Transport::Tls(binding)).await
            }
        }
    }
}
