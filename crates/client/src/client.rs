//! The client: what can be asked, and how long it lives.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::backup::Backup;
use crate::builder::ClientBuilder;
use crate::call::Call;
use crate::command::{
    Batch, Clients, Delete, Echo, Exists, Get, GetEntry, GetMetadata, Incr, Info, Kill, Ping, Set,
    Touch,
};
use crate::error::Error;
use crate::link::Link;
use crate::link::Session;
use crate::route::{BoxedDriver, Dial, Router, Settings};
use crate::scan::Scan;

/// A client that shares one connection among any number of tasks.
///
/// Cloning it is cheap, and all clones use the same connection. Requests of all tasks are sent as
/// they come, many with one write, and answered in any order.
///
/// The connection ends in order when the last clone and the last [`Scan`] are dropped;
/// [`close`](Self::close) waits for that.
#[derive(Clone)]
pub struct MultiplexedClient {
    handle: Arc<Handle>,
}

/// What the clones share.
struct Handle {
    router: Arc<Router>,
    /// The supervisor, which owns the drivers.
    tasks: JoinSet<()>,
    close_timeout: Duration,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // The supervisor ends by itself once GOODBYE was said, within `close_timeout`: aborting it
        // here would cut the connection off instead.
        self.router.close();
        self.tasks.detach_all();
    }
}

impl fmt::Debug for MultiplexedClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MultiplexedClient").finish_non_exhaustive()
    }
}

/// What the server said about itself and about this session.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionInfo {
    /// Name and version of the server's software.
    pub server: String,
    /// Who the server takes this client for.
    pub identity: String,
    /// What that identity may do.
    pub permissions: Vec<String>,
    /// Name of the suite that protects the frames.
    pub suite: &'static str,
    /// Whether values may be compressed.
    pub compression: bool,
    /// The session's name in the server's logs.
    pub session_id: [u8; 16],
}

/// What the present connection holds at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientStats {
    /// Requests whose final answer was not taken yet, orphans included.
    pub in_flight: usize,
    /// Of these, requests whose caller is gone.
    pub orphans: usize,
    /// Frames taken from callers and not written to the transport yet.
    pub outbound_frames: usize,
    /// Calls that wait for room.
    pub waiting: usize,
}

impl MultiplexedClient {
    /// Connects with the defaults of [`builder`](Self::builder): `host:port`, `kv://[keyid@]host:port`
    /// or `kvs://[keyid@]host:port` (TLS).
    ///
    /// # Errors
    /// What [`ClientBuilder::connect`] says.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the attempt.
    pub async fn connect(address: impl AsRef<str>) -> Result<Self, Error> {
        Self::builder().connect(address).await
    }

    /// All settings, each with its default.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    pub(crate) fn start(
        first: (Arc<Link>, BoxedDriver),
        dial: Box<dyn Dial>,
        settings: Settings,
        close_timeout: Duration,
    ) -> Self {
        let mut tasks = JoinSet::new();
        let router = Router::start(first, dial, settings, &mut tasks);
        Self {
            handle: Arc::new(Handle {
                router,
                tasks,
                close_timeout,
            }),
        }
    }

    fn call<Q: crate::request::Request>(&self, request: Q) -> Call<'_, Q> {
        Call::new(&self.handle.router, request)
    }

    pub(crate) fn router(&self) -> &Arc<Router> {
        &self.handle.router
    }

    /// Reads a value; `None` if there is no entry.
    pub fn get<K: AsRef<[u8]>>(&self, key: K) -> Call<'_, Get<K>> {
        self.call(Get(key))
    }

    /// Reads an entry with its version, time to live and content type.
    pub fn get_entry<K: AsRef<[u8]>>(&self, key: K) -> Call<'_, GetEntry<K>> {
        self.call(GetEntry(key))
    }

    /// Reads version, time to live, content type and length of an entry, without its value.
    pub fn metadata<K: AsRef<[u8]>>(&self, key: K) -> Call<'_, GetMetadata<K>> {
        self.call(GetMetadata(key))
    }

    /// Whether there is an entry.
    pub fn exists<K: AsRef<[u8]>>(&self, key: K) -> Call<'_, Exists<K>> {
        self.call(Exists(GetMetadata(key)))
    }

    /// Writes an entry. Options are methods of the call.
    pub fn set<K: AsRef<[u8]>, V: AsRef<[u8]>>(&self, key: K, value: V) -> Call<'_, Set<K, V>> {
        self.call(Set {
            key,
            value,
            options: Default::default(),
        })
    }

    /// Removes an entry; whether there was one.
    pub fn delete<K: AsRef<[u8]>>(&self, key: K) -> Call<'_, Delete<K>> {
        self.call(Delete {
            key,
            options: Default::default(),
        })
    }

    /// Adds to the decimal number that an entry holds, 0 if there is none; the sum.
    pub fn incr<K: AsRef<[u8]>>(&self, key: K, delta: i64) -> Call<'_, Incr<K>> {
        self.call(Incr {
            key,
            delta: delta.to_be_bytes(),
            options: Default::default(),
        })
    }

    /// Lets an entry expire after `ttl`, or never with `None`; whether there is one.
    pub fn touch<K: AsRef<[u8]>>(&self, key: K, ttl: Option<Duration>) -> Call<'_, Touch<K>> {
        self.call(Touch::new(key, ttl))
    }

    /// Streams the entries whose key begins with `prefix`, all of them with an empty one. Options are
    /// methods of the stream.
    pub fn scan(&self, prefix: impl AsRef<[u8]>) -> Scan {
        Scan::new(self.clone(), prefix.as_ref())
    }

    /// Streams all entries as they are at one moment. Needs the permission `admin`.
    pub fn backup(&self) -> Backup {
        Backup::new(self.clone())
    }

    /// Many operations in one message, in order, under one tag. They are added to the call.
    pub fn batch(&self) -> Call<'_, Batch> {
        self.call(Batch::default())
    }

    /// Asks the server for a sign of life.
    pub fn ping(&self) -> Call<'_, Ping> {
        self.call(Ping(()))
    }

    /// Sends bytes to the server and gets them back.
    pub fn echo<V: AsRef<[u8]>>(&self, value: V) -> Call<'_, Echo<V>> {
        self.call(Echo(value))
    }

    /// The server's statistics: a map of sections, or of the one section that is named.
    pub fn info<K: AsRef<[u8]>>(&self, section: K) -> Call<'_, Info<K>> {
        self.call(Info(section))
    }

    /// The server's connections: an array of maps.
    pub fn clients(&self) -> Call<'_, Clients> {
        self.call(Clients(()))
    }

    /// Ends a connection of the server by its number; whether there was one.
    pub fn kill(&self, connection: u64) -> Call<'_, Kill> {
        self.call(Kill(connection.to_be_bytes()))
    }

    /// What the handshake of the present connection said. `None` while there is none.
    #[must_use]
    pub fn session(&self) -> Option<SessionInfo> {
        let link = self.handle.router.current()?;
        link.is_open().then(|| session_info(&link.session))
    }

    /// How busy the present connection is; all zero while there is none.
    #[must_use]
    pub fn stats(&self) -> ClientStats {
        self.handle
            .router
            .current()
            .map_or_else(ClientStats::default, |link| {
                let mut state = link.lock();
                ClientStats {
                    in_flight: state.slots.live(),
                    orphans: state.slots.orphans(),
                    outbound_frames: state.outbound_frames(),
                    waiting: state.queue.waiting(),
                }
            })
    }

    /// Takes no more calls on any clone, lets those in flight finish, says GOODBYE and waits until
    /// the connection is over, at most for the builder's close timeout.
    ///
    /// # Cancel safety
    /// Once polled, closing goes on by itself; dropping the future only ends the wait.
    pub async fn close(&self) {
        self.handle.router.close();
        // The driver keeps to the same time; what is left beyond it is cut off there.
        let grace = self.handle.close_timeout.saturating_mul(2);
        let _ = timeout(grace, self.handle.router.ended()).await;
    }
}

fn session_info(session: &Session) -> SessionInfo {
    SessionInfo {
        server: session.server.to_string(),
        identity: session.identity.to_string(),
        permissions: session
            .permissions
            .iter()
            .map(ToString::to_string)
            .collect(),
        suite: session.suite.name(),
        compression: session.capabilities.contains(kv_proto::Capabilities::LZ4),
        session_id: session.session_id,
    }
}
