//! What the tests here share: a client and a scripted peer on the two ends of a stream, a network that
//! makes further streams, a model of the store, and a seeded generator.

use std::collections::HashMap;
use std::io;

use kv_client::{ClientBuilder, MultiplexedClient};
use kv_proto::Opcode;
use kv_testkit::peer::{Peer, PeerSettings, Received};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, duplex};
use tokio::sync::mpsc;

/// Bytes that a stream holds each way, unless a test says otherwise.
pub(crate) const PIPE_BYTES: usize = 64 * 1024;

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
    pair_with(builder(), &PeerSettings::default(), PIPE_BYTES).await
}

pub(crate) fn builder() -> ClientBuilder {
    MultiplexedClient::builder()
}

/// Where a client's further connections arrive.
pub(crate) struct Network {
    arrivals: mpsc::Receiver<DuplexStream>,
    settings: PeerSettings,
}

impl Network {
    /// A client that connects again by itself, and the network it does that on.
    pub(crate) async fn with(
        builder: ClientBuilder,
    ) -> (MultiplexedClient, Self, Peer<DuplexStream>) {
        let (knock, arrivals) = mpsc::channel(1);
        let mut network = Self {
            arrivals,
            settings: PeerSettings::default(),
        };
        let connecting = builder.connect_with(move || {
            let knock = knock.clone();
            async move {
                let (near, far) = duplex(PIPE_BYTES);
                match knock.send(far).await {
                    Ok(()) => Ok(near),
                    Err(_) => Err(io::Error::from(io::ErrorKind::ConnectionRefused)),
                }
            }
        });
        let (client, peer) = tokio::join!(connecting, network.accept());
        (client.unwrap(), network, peer)
    }

    /// The next connection.
    pub(crate) async fn accept(&mut self) -> Peer<DuplexStream> {
        let stream = self.arrivals.recv().await.expect("the client is gone");
        Peer::accept(stream, &self.settings).await.unwrap()
    }

    /// Whether a connection is waiting.
    pub(crate) fn is_quiet(&self) -> bool {
        self.arrivals.is_empty()
    }
}

/// A store that answers GET, SET and DEL as a server does.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) entries: HashMap<Vec<u8>, Vec<u8>>,
    version: u64,
}

impl Model {
    /// Queues the answer.
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
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut peer: Peer<S>) {
    let mut model = Model::default();
    while let Some(request) = peer.next_request().await.unwrap() {
        if request.is(Opcode::Goodbye) {
            peer.send(Opcode::ServerGoodbye, 0, &[]).await.unwrap();
            return;
        }
        model.answer(&mut peer, &request);
        peer.flush().await.unwrap();
    }
}

/// Gives a future that has begun, and has not ended.
pub(crate) async fn begun<F: Future + Unpin>(mut call: F) -> F {
    let polled = std::future::poll_fn(|cx| {
        std::task::Poll::Ready(std::pin::Pin::new(&mut call).poll(cx).is_pending())
    });
    assert!(polled.await, "the call ended at once");
    call
}

/// Lets every task run until nothing moves any more.
pub(crate) async fn settle() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

/// Numbers from a seed (xorshift); the same in every run.
pub(crate) struct Rng(u64);

impl Rng {
    /// The seed of this test, or of the variable `KV_TEST_SEED`. It is printed, and shown when the
    /// test fails.
    pub(crate) fn for_test(name: &str, default: u64) -> Self {
        let seed = std::env::var("KV_TEST_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or(default);
        println!("again with: KV_TEST_SEED={seed} cargo test -p kv-client --test it {name}");
        Self(seed.max(1))
    }

    /// Another generator, which this one determines.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next().max(1))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }
}
