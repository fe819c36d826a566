//! A non-blocking socket, plain or under TLS.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::fd::{AsFd, BorrowedFd};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const EXPORTER_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// Where to connect to.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// The address; on this machine.
    pub address: SocketAddr,
    /// How to speak TLS, if at all.
    pub tls: Option<Arc<ClientConfig>>,
}

/// TLS 1.3 that trusts one authority and never resumes, so that every set-up is a whole one.
///
/// # Errors
/// When the certificate is not one.
pub(crate) fn tls_config(
    authority: CertificateDer<'static>,
    alpn: Option<&[u8]>,
) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots
        .add(authority)
        .context("the authority's certificate")?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .context("TLS 1.3")?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.map(<[u8]>::to_vec).into_iter().collect();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

/// A connected socket.
pub(super) enum Stream {
    /// TCP.
    Plain(TcpStream),
    /// TLS over TCP.
    Tls(TcpStream, Box<ClientConnection>),
}

impl Stream {
    /// Connects. Under TLS the handshake goes on with the first reads and writes.
    ///
    /// # Errors
    /// When nobody listens there.
    pub(super) fn connect(endpoint: &Endpoint) -> Result<Self> {
        let socket = TcpStream::connect_timeout(&endpoint.address, CONNECT_TIMEOUT)
            .with_context(|| format!("cannot connect to {}", endpoint.address))?;
        // A port that nobody listens on can become a socket's own by chance.
        ensure!(
            socket.local_addr()? != endpoint.address,
            "the socket met itself"
        );
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        Ok(match &endpoint.tls {
            None => Self::Plain(socket),
            Some(config) => {
                let name = ServerName::try_from("localhost").context("server name")?;
                let mut tls = ClientConnection::new(Arc::clone(config), name)?;
                tls.set_buffer_limit(None);
                Self::Tls(socket, Box::new(tls))
            }
        })
    }

    /// Whether the session may begin: the TLS handshake is done.
    pub(super) fn is_ready(&self) -> bool {
        match self {
            Self::Plain(_) => true,
            Self::Tls(_, tls) => !tls.is_handshaking(),
        }
    }

    /// Whether bytes wait to be written that only TLS knows of.
    pub(super) fn wants_write(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(_, tls) => tls.wants_write(),
        }
    }

    /// The value that binds a session to this connection.
    pub(super) fn exporter(&self) -> Result<Option<[u8; 32]>> {
        match self {
            Self::Plain(_) => Ok(None),
            Self::Tls(_, tls) => {
                let exported = tls
                    .export_keying_material([0; 32], EXPORTER_LABEL, None)
                    .context("the TLS exporter")?;
                Ok(Some(exported))
            }
        }
    }

    /// Reads what is there; the flag says whether more may be had without waiting.
    pub(super) fn receive(&mut self, into: &mut [u8]) -> io::Result<(usize, bool)> {
        match self {
            Self::Plain(socket) => match socket.read(into) {
                Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => Ok((count, count == into.len())),
                Err(error) if is_later(&error) => Ok((0, false)),
                Err(error) => Err(error),
            },
            Self::Tls(socket, tls) => receive_tls(socket, tls, into),
        }
    }

    /// Writes as much as goes; the count of bytes taken.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => match socket.write(bytes) {
                Err(error) if is_later(&error) => Ok(0),
                result => result,
            },
            Self::Tls(socket, tls) => {
                tls.writer().write_all(bytes)?;
                while tls.wants_write() {
                    match tls.write_tls(socket) {
                        Ok(_) => {}
                        Err(error) if is_later(&error) => break,
                        Err(error) => return Err(error),
                    }
                }
                Ok(bytes.len())
            }
        }
    }
}

/// Fills `into` with clear bytes until it is full or the socket has no more.
fn receive_tls(
    socket: &mut TcpStream,
    tls: &mut ClientConnection,
    into: &mut [u8],
) -> io::Result<(usize, bool)> {
    let mut filled = 0;
    loop {
        while let Some(room) = into.get_mut(filled..).filter(|room| !room.is_empty()) {
            match tls.reader().read(room) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => filled += count,
                Err(error) if is_later(&error) => break,
                Err(error) => return Err(error),
            }
        }
        if filled == into.len() {
            return Ok((filled, true));
        }
        match tls.read_tls(socket) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {
                tls.process_new_packets().map_err(io::Error::other)?;
            }
            Err(error) if is_later(&error) => return Ok((filled, false)),
            Err(error) => return Err(error),
        }
    }
}

fn is_later(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Plain(socket) | Self::Tls(socket, _) => socket.as_fd(),
        }
    }
}
