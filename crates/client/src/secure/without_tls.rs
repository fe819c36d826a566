//! Plain TCP only.

use std::sync::Arc;

use kv_proto::Transport;
use tokio::net::TcpStream;

use crate::error::Error;
use crate::handshake::Opening;
use crate::link::Link;
use crate::route::BoxedDriver;

pub(crate) enum Security {
    Plain,
}

impl Security {
    pub(crate) async fn open(
        &self,
        stream: TcpStream,
        opening: &Opening,
    ) -> Result<(Arc<Link>, BoxedDriver), Error> {
        opening.open(stream, Transport::Plain).await
    }
}
