//! All settings of a client, each with its default, and the ways to connect with them.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use kv_proto::limits::IN_FLIGHT_DEFAULT;
use kv_proto::{Capabilities, ClientSettings, Secret, Suite, SuiteList};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::address::Address;
use crate::backoff::Backoff;
use crate::client::MultiplexedClient;
use crate::dial::{FnDial, OnceDial, TcpDial};
use crate::driver::millis;
use crate::error::Error;
use crate::handshake::{Opening, SUITES_DEFAULT};
use crate::key::{self, Key, Surroundings};
use crate::link::Bounds;
use crate::link::slots::IdSpace;
use crate::link::state::WhenFull;
use crate::pins::{Pin, Pins};
use crate::route::{Dial, Settings};
use crate::secure::Security;

#[cfg(feature = "tls")]
use crate::tls::Tls;

/// Frames that callers may have handed over and that are not written yet.
const OUTBOUND_FRAMES_DEFAULT: usize = 64;
/// How long the answer to a dropped call may take before the connection counts as broken.
const ORPHAN_TIMEOUT: Duration = Duration::from_secs(60);
const SOFTWARE: &str = concat!("kv-client/", env!("CARGO_PKG_VERSION"));

/// The settings of a client.
///
/// ```no_run
/// # async fn connect() -> Result<(), kv_client::Error> {
/// use std::time::Duration;
/// let client = kv_client::MultiplexedClient::builder()
///     .key("app", kv_client::Secret::from_hex(&"5a".repeat(32)).unwrap())
///     .request_timeout(Duration::from_secs(2))
///     .connect("127.0.0.1:7777")
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it connects"]
pub struct ClientBuilder {
    key: KeyChoice,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
    suites: SuiteList,
    pins: Pins,
    capabilities: Capabilities,
    software: Box<str>,
    connect_timeout: Duration,
    request_timeout: Duration,
    close_timeout: Duration,
    backoff: Option<Backoff>,
    in_flight_max: usize,
    when_full: WhenFull,
    outbound_frames_max: usize,
    ids: IdSpace,
    retry_writes: bool,
}

#[derive(Clone, Debug)]
enum KeyChoice {
    Discover,
    Given(Key),
    File(Box<str>, PathBuf),
    None,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl ClientBuilder {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            key: KeyChoice::Discover,
            #[cfg(feature = "tls")]
            tls: None,
            suites: SuiteList::new(&SUITES_DEFAULT),
            pins: Pins::default(),
            capabilities: Capabilities::NONE,
            software: SOFTWARE.into(),
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
            backoff: Some(Backoff::default()),
            in_flight_max: usize::try_from(IN_FLIGHT_DEFAULT).unwrap_or(usize::MAX),
            when_full: WhenFull::Wait,
            outbound_frames_max: OUTBOUND_FRAMES_DEFAULT,
            ids: IdSpace::DEFAULT,
            retry_writes: false,
        }
    }

    /// The key to prove, by the id under which the server knows it.
    ///
    /// Without a key, and without [`anonymous`](Self::anonymous), one is looked for: the file that
    /// the variable `KV_AUTH_KEY_FILE` names, under the id of `KV_AUTH_KEY_ID`; else, for an address
    /// of this machine and without a TLS client certificate, the one that a local server has made,
    /// `$XDG_STATE_HOME/kv/dev.key` or `~/.local/state/kv/dev.key`, under the id `dev`.
    pub fn key(mut self, id: &str, secret: Secret) -> Self {
        self.key = KeyChoice::Given((id.into(), secret));
        self
    }

    /// The key to prove, from a file with one line of hex.
    pub fn key_file(mut self, id: &str, path: impl Into<PathBuf>) -> Self {
        self.key = KeyChoice::File(id.into(), path.into());
        self
    }

    /// Proves no key: the identity is that of the TLS client certificate, or nobody's.
    pub fn anonymous(mut self) -> Self {
        self.key = KeyChoice::None;
        self
    }

    /// Speaks TLS 1.3, with the authorities and the certificate given there.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Suites to offer, preferred first. Default: `hmac-sha256`, then the encrypted one. With a key,
    /// the suite without authentication is never offered.
    pub fn suites(mut self, suites: &[Suite]) -> Self {
        self.suites = SuiteList::new(suites);
        self
    }

    /// Refuses every connection that is not under TLS.
    pub fn require_tls(mut self) -> Self {
        self.pins.tls = Pin::Required;
        self
    }

    /// Refuses every session whose bytes can be read on the way: TLS or the encrypted suite.
    pub fn require_encryption(mut self) -> Self {
        self.pins.encryption = Pin::Required;
        self
    }

    /// Refuses every session without authentication.
    pub fn require_authentication(mut self) -> Self {
        self.pins.authentication = Pin::Required;
        self
    }

    /// Lets values be compressed with LZ4 in both directions, if the server can. Off by default:
    /// it costs more time than a fast network saves.
    pub fn compression(mut self) -> Self {
        self.capabilities = Capabilities::LZ4;
        self
    }

    /// Name and version of the program, for the server's logs and its list of clients.
    pub fn software(mut self, name: &str) -> Self {
        self.software = name.chars().filter(|c| !c.is_control()).take(100).collect();
        self
    }

    /// Time for one attempt to connect: TCP, TLS and the session's handshake. Default: 5 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Time for one call, waiting for room and for a new connection included; of a stream, time for
    /// its next item. Default: 10 s.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Time for the answers that are still due when the client is closed. Default: 5 s.
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout;
        self
    }

    /// How a lost connection is made again. Default: at once, then from 20 ms to 5 s, with jitter.
    pub fn reconnect(mut self, backoff: Backoff) -> Self {
        self.backoff = Some(backoff);
        self
    }

    /// Leaves a lost connection lost: every call after that fails.
    pub fn no_reconnect(mut self) -> Self {
        self.backoff = None;
        self
    }

    /// Repeats every write whose connection was lost before its answer, until the call's time is
    /// over, without applying it twice: each is sent with an operation number, and the server answers
    /// a repeat with the first answer. Off by default: it costs the server a record per write, and
    /// some 26 bytes each on the wire. A single call asks for the same with
    /// [`Call::idempotent`](crate::Call::idempotent).
    ///
    /// At most 1,000 numbers are under way; further writes wait. An operation that failed with
    /// [`Retry::OutcomeUnknown`](crate::Retry::OutcomeUnknown) even so may have been applied.
    pub fn retry_writes(mut self) -> Self {
        self.retry_writes = true;
        self
    }

    /// Requests in flight at once, at most what the server allows. Default: 1,024. Zero counts as 1,
    /// more than 65,535 as that.
    pub fn in_flight_max(mut self, requests: usize) -> Self {
        self.in_flight_max = requests;
        self
    }

    /// Fails a call with [`InFlightLimit`](crate::ErrorKind::InFlightLimit) when as many are in
    /// flight as are allowed. Default: it waits for its turn.
    pub fn fail_fast(mut self) -> Self {
        self.when_full = WhenFull::FailFast;
        self
    }

    /// Frames that are taken from callers and not yet written; the next caller waits for its turn.
    /// Default: 64, zero counts as 1. Memory: at most this many frames of 64 KiB and a key.
    pub fn outbound_frames_max(mut self, frames: usize) -> Self {
        self.outbound_frames_max = frames;
        self
    }

    #[cfg(test)]
    pub(crate) const fn ids(mut self, ids: IdSpace) -> Self {
        self.ids = ids;
        self
    }

    /// Connects to `host:port`, `kv://[keyid@]host[:port]`, or, with TLS, `kvs://...`.
    ///
    /// # Errors
    /// Of an address, key or certificate that is of no use: `InvalidArgument` or `Tls`. Of the
    /// attempt: `Connect`, `Tls`, `Refused` or `NotAuthentic`. It is made once; only a connection
    /// that has stood is made again.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the attempt.
    pub async fn connect(self, address: impl AsRef<str>) -> Result<MultiplexedClient, Error> {
        let address = Address::parse(address.as_ref())?;
        let security = self.security(&address)?;
        let key = self.choose_key(&address)?;
        let dial = TcpDial {
            security,
            opening: self.opening(key, &address.host)?,
            host: address.host,
            port: address.port,
            connect_timeout: self.connect_timeout,
        };
        self.start(dial).await
    }

    /// Opens a session on a stream that exists already. Once that is lost, every call fails.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    ///
    /// # Cancel safety
    /// Dropping the future closes the stream.
    pub async fn connect_with_stream<S>(mut self, stream: S) -> Result<MultiplexedClient, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.backoff = None;
        let dial = OnceDial {
            stream: Mutex::new(Some(stream)),
            opening: self.opening(self.given_key()?, "")?,
            connect_timeout: self.connect_timeout,
        };
        self.start(dial).await
    }

    /// Opens sessions on streams that `connect` makes: once now, and again whenever a call needs a
    /// connection and there is none. No key is looked for.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    ///
    /// # Cancel safety
    /// Dropping the future gives up the attempt.
    pub async fn connect_with<F, T, S>(self, connect: F) -> Result<MultiplexedClient, Error>
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = io::Result<S>> + Send,
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let dial = FnDial {
            connect,
            opening: self.opening(self.given_key()?, "")?,
            connect_timeout: self.connect_timeout,
        };
        self.start(dial).await
    }

    async fn start(self, dial: impl Dial) -> Result<MultiplexedClient, Error> {
        let mut client = [0; 16];
        getrandom::fill(&mut client)
            .map_err(|_| Error::connect(io::ErrorKind::Unsupported.into()))?;
        let first = dial.dial().await?;
        let settings = Settings {
            request_timeout: self.request_timeout,
            when_full: self.when_full,
            backoff: self.backoff,
            retry_writes: self.retry_writes,
            client,
        };
        Ok(MultiplexedClient::start(
            first,
            Box::new(dial),
            settings,
            self.close_timeout,
        ))
    }

    fn opening(&self, key: Option<Key>, server_name: &str) -> Result<Opening, Error> {
        if let Some((id, secret)) = &key {
            key::check(id, secret)?;
        }
        Ok(Opening {
            settings: ClientSettings {
                suites: self.suites,
                capabilities: self.capabilities,
                key,
                server_name: server_name.into(),
                software: self.software.clone(),
            },
            pins: self.pins,
            bounds: Bounds {
                outbound_max: self.outbound_frames_max.max(1),
                in_flight_max: self
                    .in_flight_max
                    .clamp(1, self.ids.slots_max().saturating_sub(1)),
                ids: self.ids,
                orphan_ms: millis(ORPHAN_TIMEOUT),
            },
            close_timeout: self.close_timeout,
        })
    }

    fn given_key(&self) -> Result<Option<Key>, Error> {
        match &self.key {
            KeyChoice::Discover | KeyChoice::None => Ok(None),
            KeyChoice::Given(key) => Ok(Some(key.clone())),
            KeyChoice::File(id, path) => key::read(id, path.clone())?
                .map(Some)
                .ok_or_else(|| Error::invalid("the key file does not exist")),
        }
    }

    fn choose_key(&self, address: &Address) -> Result<Option<Key>, Error> {
        match &self.key {
            KeyChoice::Discover => {
                let local = address.is_loopback() && !self.has_client_certificate();
                key::discover(
                    &Surroundings::of_process(),
                    address.key_id.as_deref(),
                    local,
                )
            }
            KeyChoice::Given(_) | KeyChoice::File(..) | KeyChoice::None => self.given_key(),
        }
    }
}

#[cfg(feature = "tls")]
impl ClientBuilder {
    fn has_client_certificate(&self) -> bool {
        self.tls.as_ref().is_some_and(Tls::has_client_certificate)
    }

    fn security(&self, address: &Address) -> Result<Security, Error> {
        match &self.tls {
            Some(tls) => Ok(Security::Tls(tls.connector(&address.host)?)),
            None if address.tls => Err(Error::invalid(
                "kvs:// needs the CA to trust: give it with tls",
            )),
            None if self.pins.tls == Pin::Required => {
                Err(Error::invalid("require_tls without tls"))
            }
            None => Ok(Security::Plain),
        }
    }
}

#[cfg(not(feature = "tls"))]
impl ClientBuilder {
    const fn has_client_certificate(&self) -> bool {
        false
    }

    fn security(&self, address: &Address) -> Result<Security, Error> {
        if address.tls || self.pins.tls == Pin::Required {
            return Err(Error::invalid(
                "this build has no TLS: enable the feature tls",
            ));
        }
        Ok(Security::Plain)
    }
}
