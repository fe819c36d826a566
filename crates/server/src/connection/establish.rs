//! From an accepted stream to an open session: TLS, handshake, identity.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kv_proto::{
    AuthFailed, CloseReason, Established, FrameHead, KeyLookup, Opcode, Opener, ProtocolViolation,
    Secret, ServerHandshake, ServerRandom, ServerStep, Suite, Transport,
    limits::HANDSHAKE_BODY_BYTES_MAX, typed::Writer, write_frame,
};
use kv_service::{AuthResult, Identity, KeyEntry, Mechanism, Permissions, TlsResult};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::server::TlsStream;
use zeroize::Zeroizing;

use super::core::{Core, Session0};
use super::peer::{NewPeer, Peer};
use super::read_buffer::ReadBuffer;
use crate::shared::Shared;
use crate::tls;

/// What carries the session, and whom the carrier vouches for.
pub(super) struct Carrier {
    transport: Transport,
    address: Option<SocketAddr>,
    certificate: Option<Identity>,
}

impl Carrier {
    pub(super) const fn plain(address: Option<SocketAddr>) -> Self {
        Self {
            transport: Transport::Plain,
            address,
            certificate: None,
        }
    }

    const fn is_tls(&self) -> bool {
        matches!(self.transport, Transport::Tls(_))
    }
}

/// An open session, ready to be served.
pub(super) struct Opened {
    pub(super) opener: Opener,
    pub(super) input: ReadBuffer,
    pub(super) core: Core,
    /// Of the keys in force when the session was granted: have they changed since?
    pub(super) generation: u64,
}

/// Why there is no session.
#[derive(Debug)]
pub(super) enum Failure {
    /// The peer went away or the socket failed.
    Io(io::ErrorKind),
    /// The handshake was refused.
    Refused(CloseReason),
    /// The peer had said nothing when the server began to drain.
    Draining,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error.kind())
    }
}

impl From<CloseReason> for Failure {
    fn from(reason: CloseReason) -> Self {
        Self::Refused(reason)
    }
}

/// The TLS handshake, and what it says about the peer.
pub(super) async fn begin_tls<S>(
    stream: S,
    address: Option<SocketAddr>,
    timeout: Duration,
    shared: &Shared,
) -> io::Result<(Box<TlsStream<S>>, Carrier)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let began = std::time::Instant::now();
    let mut session = None;
    let accepted = tokio::time::timeout(timeout, accept_tls(stream, shared)).await;
    let accepted = accepted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let result = match &accepted {
        Err(error) => tls::failed_result(error),
        Ok((stream, identity_from)) => match tls::session(stream.get_ref().1, *identity_from) {
            Ok(opened) => {
                session = Some(opened);
                TlsResult::Ok
            }
            Err(refused) => {
                tracing::debug!(peer = ?address, %refused, "TLS session refused");
                refused.result()
            }
        },
    };
    let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
    shared.metrics.tls_handshake(result, nanos);
    let (stream, _) = accepted?;
    let session = session.ok_or(io::ErrorKind::InvalidData)?;
    let carrier = Carrier {
        transport: Transport::Tls(*session.exporter),
        address,
        certificate: session.peer.map(|peer| peer.identity().clone()),
    };
    // Large, and moved from one owner to the next: by its address.
    Ok((Box::new(stream), carrier))
}

async fn accept_tls<S>(
    stream: S,
    shared: &Shared,
) -> io::Result<(TlsStream<S>, crate::config::IdentityFrom)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Some(store) = &shared.certificates else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    let (config, identity_from) = store.in_force();
    let acceptor = tokio_rustls::TlsAcceptor::from(config);
    let mut accept = std::pin::pin!(acceptor.accept(stream));
    let accepted = std::future::poll_fn(|cx| {
        // A turn is for computing. Held while waiting for the peer, a few silent ones would keep
        // everybody else out.
        let Some(_turn) = shared.tls_turn() else {
            cx.waker().wake_by_ref();
            return std::task::Poll::Pending;
        };
        accept.as_mut().poll(cx)
    });
    Ok((accepted.await?, identity_from))
}

/// Finds pre-shared keys, and remembers what it found.
struct Lookup<'s> {
    shared: &'s Shared,
    carrier: &'s Carrier,
    /// The key the handshake is about.
    found: OnceLock<Arc<KeyEntry>>,
}

impl KeyLookup for Lookup<'_> {
    fn find(&self, key_id: Option<&str>) -> (Secret, bool) {
        match key_id {
            Some(id) => self.shared.keys.find(id).map_or_else(
                || (self.shared.decoy.clone(), false),
                |entry| {
                    let secret = Secret::new(entry.secret.expose());
                    // There is one HELLO in a handshake.
                    let _ = self.found.set(entry);
                    (secret, true)
                },
            ),
            None => (
                Secret::absent(),
                self.carrier.is_tls() && self.without_key(),
            ),
        }
    }
}

impl Lookup<'_> {
    /// Whether a session without a pre-shared key is allowed on this carrier.
    fn without_key(&self) -> bool {
        self.carrier.certificate.is_some() || !self.shared.live().auth.anonymous.is_empty()
    }
}

/// The native handshake.
pub(super) async fn handshake<S>(
    stream: &mut S,
    id: u64,
    carrier: &Carrier,
    shared: &Arc<Shared>,
) -> Result<Opened, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let settings = shared.handshake_settings();
    let settings = settings.as_ref();
    let mut handshake = ServerHandshake::new(settings, carrier.transport, random()?);
    let lookup = Lookup {
        shared,
        carrier,
        found: OnceLock::new(),
    };
    let generation = || shared.keys.generation();
    let mut input = ReadBuffer::default();
    let mut out = Vec::new();
    let mut begun = false;
    loop {
        let mut rest = input.unread();
        let before = rest.len();
        let step = handshake.recv(&mut rest, &mut out, &lookup)?;
        let consumed = before - rest.len();
        input.consume(consumed);
        match step {
            ServerStep::NeedMore => {
                if !out.is_empty() {
                    stream.write_all(&out).await?;
                    stream.flush().await?;
                    out.clear();
                }
                let silent = !begun;
                let read = tokio::select! {
                    read = std::future::poll_fn(|cx| input.poll_fill(cx, stream, |_| None)) => read?,
                    () = shared.registry.draining(), if silent => return Err(Failure::Draining),
                };
                begun = true;
                if read == 0 {
                    return Err(Failure::Io(io::ErrorKind::UnexpectedEof));
                }
            }
            ServerStep::Progress => {}
            ServerStep::Version1 { opener, sealer } => {
                prove_version_1(stream, &mut input, shared).await?;
                let generation = generation();
                let established = Session0::version_1(sealer, settings.limits);
                let grant = version_1_grant(shared)?;
                let core = open(id, carrier, shared, established, grant, "version 1".into());
                return Ok(Opened {
                    opener,
                    input,
                    core,
                    generation,
                });
            }
            ServerStep::Established(established) => {
                let generation = generation();
                let grant = grant(&lookup, &established)?;
                let software = established.peer_software.clone();
                let (mut session, opener) = Session0::of(*established);
                ready(&mut session, &grant, &mut out);
                stream.write_all(&out).await?;
                stream.flush().await?;
                let core = open(id, carrier, shared, session, grant, software);
                return Ok(Opened {
                    opener,
                    input,
                    core,
                    generation,
                });
            }
        }
    }
}

/// Who the peer is and what it may do.
struct Grant {
    identity: Identity,
    permissions: Permissions,
    key: Option<Arc<KeyEntry>>,
}

fn grant(lookup: &Lookup<'_>, established: &Established) -> Result<Grant, CloseReason> {
    let Lookup {
        shared, carrier, ..
    } = lookup;
    // What was proven is the key of HELLO's time; by now it may be gone, or another under its name.
    let key = lookup
        .found
        .get()
        .filter(|_| established.key_id.is_some())
        .and_then(|proven| shared.keys.renew(proven));
    let grant = match (key, &carrier.certificate) {
        (Some(key), Some(certificate)) if *certificate != key.identity => {
            shared
                .metrics
                .auth_attempt(Mechanism::Certificate, AuthResult::Mismatch);
            return Err(AuthFailed.into());
        }
        (Some(key), _) => Grant {
            identity: key.identity.clone(),
            permissions: key.permissions,
            key: Some(key),
        },
        (None, _) if established.key_id.is_some() => return Err(AuthFailed.into()),
        (None, Some(certificate)) if established.suite != Suite::Checksum => {
            let permissions = shared.live().auth.certificate_permissions(certificate);
            Grant {
                identity: certificate.clone(),
                permissions,
                key: None,
            }
        }
        (None, _) => Grant {
            identity: Identity::anonymous(),
            permissions: shared.live().auth.anonymous,
            key: None,
        },
    };
    let mechanism = match (&grant.key, &carrier.certificate) {
        (Some(_), _) => Mechanism::Key,
        (None, Some(_)) => Mechanism::Certificate,
        (None, None) => Mechanism::Anonymous,
    };
    shared.metrics.auth_attempt(mechanism, AuthResult::Ok);
    Ok(grant)
}

/// Waits until the first frame of a version 1 connection is there and its tag verifies: until then
/// the peer has proven nothing and is held to what holds before authentication. The frame stays.
async fn prove_version_1<S>(
    stream: &mut S,
    input: &mut ReadBuffer,
    shared: &Shared,
) -> Result<(), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let secret = shared
        .version_1_secret()
        .ok_or(CloseReason::Auth(AuthFailed))?;
    loop {
        let mut probe = Opener::version_1_server(secret.expose(), HANDSHAKE_BODY_BYTES_MAX);
        let mut front = input.unread();
        match probe.next(&mut front) {
            Ok(Some(_)) => return Ok(()),
            // The tag is right; the session says what is wrong.
            Err(CloseReason::Violation(ProtocolViolation::Replayed)) => return Ok(()),
            Err(reason) => return Err(reason.into()),
            Ok(None) => {}
        }
        if std::future::poll_fn(|cx| input.poll_fill(cx, stream, |_| None)).await? == 0 {
            return Err(Failure::Io(io::ErrorKind::UnexpectedEof));
        }
    }
}

fn version_1_grant(shared: &Shared) -> Result<Grant, CloseReason> {
    let id = shared.config.protocol.v1_key.as_deref().ok_or(AuthFailed)?;
    let key = shared.keys.find(id).ok_or(AuthFailed)?;
    Ok(Grant {
        identity: key.identity.clone(),
        permissions: key.permissions,
        key: Some(key),
    })
}

/// READY: the identity and what it may do.
fn ready(session: &mut Session0, grant: &Grant, out: &mut Vec<u8>) {
    let mut value = Vec::with_capacity(128);
    let mut writer = Writer::new(&mut value);
    writer.map(2).str("identity").str(grant.identity.name());
    writer
        .str("permissions")
        .array(grant.permissions.iter().count());
    for permission in grant.permissions.iter() {
        writer.str(permission.name());
    }
    let done = writer.finish();
    debug_assert!(done.is_ok());
    let start = write_frame(out, FrameHead::new(Opcode::Ready, 0), &[], &[], &value);
    session.sealer.seal(out, start);
}

fn open(
    id: u64,
    carrier: &Carrier,
    shared: &Arc<Shared>,
    session: Session0,
    grant: Grant,
    software: Box<str>,
) -> Core {
    let protocol = if session.version_1 { "kv/1" } else { "kv/2" };
    let peer = Peer::new(NewPeer {
        id,
        address: carrier.address,
        identity: grant.identity,
        key: grant.key,
        software,
        protocol,
        tls: carrier.is_tls(),
    });
    Core::new(
        Arc::clone(shared),
        Arc::new(peer),
        grant.permissions,
        session,
    )
}

fn random() -> Result<ServerRandom, Failure> {
    let mut random = ServerRandom {
        nonce: [0; 32],
        session_id: [0; 16],
        x25519: [0; 32],
    };
    // One call to the system, not one per field.
    let mut bytes = Zeroizing::new([0; 80]);
    getrandom::fill(bytes.as_mut()).map_err(|_| Failure::Io(io::ErrorKind::Other))?;
    let fields = random.nonce.iter_mut();
    let fields = fields.chain(&mut random.session_id);
    for (place, byte) in fields.chain(&mut random.x25519).zip(bytes.iter()) {
        *place = *byte;
    }
    Ok(random)
}

/// Says in the log and the metrics why, and to the peer only what everybody may know.
pub(super) async fn on_failure<S>(
    stream: &mut S,
    id: u64,
    address: Option<SocketAddr>,
    failure: &Failure,
    shared: &Shared,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let closure = match failure {
        Failure::Io(kind) => {
            tracing::debug!(conn_id = id, peer = ?address, ?kind, "gone during the handshake");
            kv_service::Closure::Client
        }
        Failure::Draining => kv_service::Closure::Drain,
        Failure::Refused(reason) => {
            tracing::debug!(conn_id = id, peer = ?address, %reason, "handshake refused");
            shared
                .metrics
                .frame_rejected(super::frame_rejection(*reason));
            if matches!(reason, CloseReason::Auth(_)) {
                shared
                    .metrics
                    .auth_attempt(Mechanism::Key, AuthResult::WrongProof);
                kv_service::Closure::Auth
            } else {
                kv_service::Closure::Error
            }
        }
    };
    shared.metrics.closed(kv_service::Listener::Native, closure);
    if let Some(text) = told(failure, shared) {
        let mut out = Vec::new();
        kv_proto::refusal(&mut out, shared.version_1_secret().as_ref(), &text);
        let told = async {
            stream.write_all(&out).await?;
            stream.shutdown().await
        };
        // The peer may be gone; there is nothing more to do for it then.
        let told = tokio::time::timeout(Duration::from_secs(1), told).await;
        tracing::trace!(conn_id = id, told = matches!(told, Ok(Ok(()))), "refusal");
    }
}

/// What the peer is told; nothing about what it did wrong [P-5.5].
fn told(failure: &Failure, shared: &Shared) -> Option<String> {
    match failure {
        Failure::Draining => Some("SHUTTING_DOWN: the server is shutting down".into()),
        Failure::Refused(CloseReason::UnsupportedVersion(_)) => {
            let lowest = if shared.config.protocol.v1_key.is_some() {
                1
            } else {
                2
            };
            Some(format!(
                "UNSUPPORTED_VERSION: supported versions {lowest}-2"
            ))
        }
        Failure::Refused(_) | Failure::Io(_) => None,
    }
}
