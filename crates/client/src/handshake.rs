//! Opens a session on a stream: HELLO, WELCOME, AUTH, READY, as `kv-proto` says.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use kv_proto::typed::Value;
use kv_proto::{
    ClientHandshake, ClientRandom, ClientSettings, ClientStep, CloseReason, Established, Opcode,
    ProtocolViolation, Suite, Transport,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::driver::{Driver, Ends};
use crate::error::{Error, ErrorKind, Retry};
use crate::link::{Bounds, Link, Session};
use crate::pins::Pins;
use crate::reply::server_error;
use crate::route::BoxedDriver;

/// What every connection of one client is opened with.
#[derive(Clone, Debug)]
pub(crate) struct Opening {
    pub(crate) settings: ClientSettings,
    pub(crate) pins: Pins,
    pub(crate) bounds: Bounds,
    pub(crate) close_timeout: Duration,
}

/// The first read of a handshake: WELCOME and READY are well below it.
const READ_BYTES: usize = 4 * 1024;

impl Opening {
    /// Runs the handshake. The caller sets the deadline.
    pub(crate) async fn open<S>(
        &self,
        mut stream: S,
        transport: Transport,
    ) -> Result<(Arc<Link>, BoxedDriver), Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let is_tls = matches!(transport, Transport::Tls(_));
        let mut input = Vec::with_capacity(READ_BYTES);
        let mut established = self.establish(&mut stream, transport, &mut input).await?;
        established
            .opener
            .set_frame_bytes_max(established.limits.frame_bytes_max);
        let (identity, permissions) = ready(&mut stream, &mut established, &mut input).await?;
        self.pins.check(established.suite, is_tls)?;
        let session = Session {
            suite: established.suite,
            capabilities: established.capabilities,
            limits: established.limits,
            session_id: established.session_id,
            server: established.peer_software.clone(),
            identity,
            permissions,
        };
        let limit = usize::try_from(established.limits.in_flight_max).unwrap_or(usize::MAX);
        let bounds = Bounds {
            in_flight_max: self.bounds.in_flight_max.min(limit),
            ..self.bounds
        };
        let link = Arc::new(Link::new(session, bounds));
        let ends = Ends::of(established, input);
        let driver = Driver::new(Arc::clone(&link), stream, ends, self.close_timeout);
        Ok((link, Box::pin(driver)))
    }

    async fn establish<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        transport: Transport,
        input: &mut Vec<u8>,
    ) -> Result<Established, Error> {
        let mut output = Vec::with_capacity(512);
        let mut handshake =
            ClientHandshake::start(self.settings.clone(), transport, random()?, &mut output);
        send(stream, &output).await?;
        output.clear();
        loop {
            let mut rest = input.as_mut_slice();
            let step = handshake
                .recv(&mut rest, &mut output)
                .map_err(|e| self.refusal(e))?;
            let left = rest.len();
            match step {
                ClientStep::NeedMore => more(stream, input).await?,
                ClientStep::Refused(text) => {
                    return Err(Error::new(ErrorKind::Refused(text), Retry::Safe));
                }
                ClientStep::Established(established) => {
                    input.drain(..input.len().saturating_sub(left));
                    send(stream, &output).await?;
                    return Ok(*established);
                }
            }
        }
    }

    fn refusal(&self, reason: CloseReason) -> Error {
        if let CloseReason::Auth(_) = reason {
            let key_id = self
                .settings
                .key
                .as_ref()
                .map(|(id, _)| id.clone())
                .unwrap_or_default();
            return Error::new(ErrorKind::NotAuthentic { key_id }, Retry::No);
        }
        Error::new(ErrorKind::Protocol(reason), Retry::No)
    }
}

fn random() -> Result<ClientRandom, Error> {
    let mut random = ClientRandom {
        nonce: [0; 32],
        x25519: [0; 32],
    };
    for part in [&mut random.nonce, &mut random.x25519] {
        getrandom::fill(part).map_err(|_| Error::connect(io::ErrorKind::Unsupported.into()))?;
    }
    Ok(random)
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> Result<(), Error> {
    stream.write_all(bytes).await.map_err(Error::connect)?;
    stream.flush().await.map_err(Error::connect)
}

async fn more<S: AsyncRead + Unpin>(stream: &mut S, input: &mut Vec<u8>) -> Result<(), Error> {
    if stream.read_buf(input).await.map_err(Error::connect)? == 0 {
        let text = "it closed the connection during the handshake";
        return Err(Error::new(ErrorKind::Refused(text.into()), Retry::Safe));
    }
    Ok(())
}

type Granted = (Box<str>, Vec<Box<str>>);

/// Waits for READY, the first frame under the session's keys.
async fn ready<S: AsyncRead + Unpin>(
    stream: &mut S,
    established: &mut Established,
    input: &mut Vec<u8>,
) -> Result<Granted, Error> {
    loop {
        let mut rest = input.as_mut_slice();
        let frame = established
            .opener
            .next(&mut rest)
            .map_err(Error::protocol)?;
        if let Some(frame) = frame {
            let granted = match Opcode::try_from(frame.opcode()) {
                Ok(Opcode::Ready) => granted(frame.value()).map_err(Error::protocol)?,
                Ok(Opcode::Err) => {
                    let error = server_error(frame.ext(), frame.key(), frame.value());
                    return Err(error.unwrap_or_else(Error::protocol));
                }
                _ => return Err(Error::protocol(ProtocolViolation::UnexpectedFrame.into())),
            };
            let left = rest.len();
            input.drain(..input.len().saturating_sub(left));
            return Ok(granted);
        }
        more(stream, input).await?;
    }
}

fn granted(value: &[u8]) -> Result<Granted, CloseReason> {
    let value = Value::decode(value)?;
    let identity = value
        .at("identity")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let permissions = value
        .at("permissions")
        .and_then(Value::as_array)
        .unwrap_or_default();
    Ok((
        identity.into(),
        permissions
            .iter()
            .filter_map(Value::as_str)
            .map(Into::into)
            .collect(),
    ))
}

/// The suites that are offered, in order.
pub(crate) const SUITES_DEFAULT: [Suite; 2] = [Suite::Hmac, Suite::Encrypted];
