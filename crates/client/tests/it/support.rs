//! What the tests here share: a client and a scripted peer on the two ends of a stream.

use std::collections::HashMap;
use std::io;

use kv_client::{ClientBuilder, MultiplexedClient};
use kv_proto::{Opcode, OpcodeByte};
use kv_testkit::peer::{Peer, PeerSettings, Received};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, duplex};

/// A client and the peer it is connected to, over a stream that holds `bytes` each way.
pub(crate) async fn pair_with(
    builder: ClientBuilder,
    settings: &PeerSettings,
    bytes: usize,
) -> (MultiplexedClient, Peer<DuplexStream>) {
    let (near, far) = duplex(bytes);
    let (client, peer) = tokio::join!(
        builder.connect_with_stream(near),
        Peer::accept(far, settings)
    );
    (client.unwrap(), peer.unwrap())
}

pub(crate) async fn pair() -> (MultiplexedClient, Peer<DuplexStream>) {
    pair_with(
        MultiplexedClient::builder(),
        &PeerSettings::default(),
        64 * 1024,
    )
    .await
}

/// A store that answers GET, SET and DEL as a server does.
#[derive(Default)]
pub(crate) struct Model {
    entries: HashMap<Vec<u8>, Vec<u8>>,
    version: u64,
}

impl Model {
    pub(crate) fn answer<S>(&mut self, peer: &mut Peer<S>, request: &Received)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let ends = peer.ends();
        match Opcode::try_from(request.opcode) {
            Ok(Opcode::Get) => match self.entries.get(&request.key) {
                Some(value) => ends.ok(request.id, 1, value),
                None => ends.bare(Opcode::NotFound, request.id),
            },
            Ok(Opcode::Set) => {
                self.version += 1;
                self.entries
                    .insert(request.key.clone(), request.value.clone());
                ends.ok(request.id, self.version, &[]);
            }
            Ok(Opcode::Del) => match self.entries.remove(&request.key) {
                Some(_) => ends.ok(request.id, 1, &[]),
                None => ends.bare(Opcode::NotFound, request.id),
            },
            Ok(Opcode::Echo) => ends.ok(request.id, 0, &request.value),
            _ => panic!("not in the model: {:?}", request.opcode),
        }
    }
}

/// Serves a model until the client leaves.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut peer: Peer<S>) -> io::Result<()> {
    let mut model = Model::default();
    while let Some(request) = peer.next_request().await? {
        if request.opcode == OpcodeByte::from(Opcode::Goodbye) {
            peer.ends().bare(Opcode::ServerGoodbye, 0);
            return peer.flush().await;
        }
        model.answer(&mut peer, &request);
        peer.flush().await?;
    }
    Ok(())
}
