//! The server's side of the handshake.

use zeroize::{Zeroize, Zeroizing};

use super::hello::ClientHello;
use super::welcome::Welcome;
use super::{CLIENT_CONFIRM, Established, SERVER_CONFIRM, is_bare, take_plain, untagged};
use crate::error::{AuthFailed, CloseReason, ProtocolViolation};
use crate::header::{HEADER_LEN, Header, PREFIX_LEN, VERSION_1, VERSION_2};
use crate::keys::{Schedule, Transport, transcript_hash};
use crate::limits::{HANDSHAKE_BODY_BYTES_MAX, SessionLimits};
use crate::mac::{MacKey, TAG_LEN, checksum};
use crate::opcode::Opcode;
use crate::open::Opener;
use crate::seal::{FrameHead, Sealer, write_frame};
use crate::suite::{Capabilities, Secret, Suite, SuiteList};

/// What a server offers, the same for every connection of a listener.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Suites that are allowed here. The client's preference decides among them.
    pub suites: SuiteList,
    /// What the server can do.
    pub capabilities: Capabilities,
    /// What a session may use.
    pub limits: SessionLimits,
    /// Name and version of the software.
    pub software: Box<str>,
    /// The key of version-1 connections, where they are allowed.
    pub version_1: Option<Secret>,
}

/// Randomness of one server handshake.
pub struct ServerRandom {
    /// WELCOME's nonce.
    pub nonce: [u8; 32],
    /// The session's name.
    pub session_id: [u8; 16],
    /// X25519 secret; used in suite 2 only, wiped afterwards.
    pub x25519: [u8; 32],
}

impl Drop for ServerRandom {
    fn drop(&mut self) {
        self.x25519.zeroize();
    }
}

/// Finds the pre-shared key of a HELLO.
pub trait KeyLookup {
    /// The secret for `key_id` (`None`: the client named no key), and whether a session with it is
    /// wanted. An unknown id must answer `(a per-process random secret, false)` in the same time, so
    /// that it fails exactly like a wrong key.
    fn find(&self, key_id: Option<&str>) -> (Secret, bool);
}

/// What [`ServerHandshake::recv`] came to.
#[expect(
    clippy::large_enum_variant,
    reason = "one per connection, moved once; version 1 needs no allocation"
)]
pub enum ServerStep {
    /// The next frame is not complete.
    NeedMore,
    /// A frame was handled; call again.
    Progress,
    /// A version-1 connection: nothing was consumed, its first frame stands at the front.
    Version1 {
        /// Receives.
        opener: Opener,
        /// Sends.
        sealer: Sealer,
    },
    /// The client proved its key. The caller sends READY with the sealer, then goes on with the input.
    Established(Box<Established>),
}

/// The server's handshake. One per connection; after an error the connection is over.
pub struct ServerHandshake<'s> {
    settings: &'s ServerSettings,
    transport: Transport,
    phase: Phase,
}

enum Phase {
    Hello(ServerRandom),
    Auth(Box<Auth>),
    Over,
}

struct Auth {
    established: Established,
    confirm: Option<Zeroizing<[u8; TAG_LEN]>>,
    accepted: bool,
}

impl<'s> ServerHandshake<'s> {
    /// Waits for HELLO.
    #[must_use]
    pub const fn new(
        settings: &'s ServerSettings,
        transport: Transport,
        random: ServerRandom,
    ) -> Self {
        Self {
            settings,
            transport,
            phase: Phase::Hello(random),
        }
    }

    /// Handles at most one frame from the front of `input`; answers are appended to `out`.
    ///
    /// # Errors
    /// [`CloseReason`]: close without a reply, except for
    /// [`CloseReason::UnsupportedVersion`], which is answered with [`super::refusal`].
    pub fn recv(
        &mut self,
        input: &mut &mut [u8],
        out: &mut Vec<u8>,
        keys: &dyn KeyLookup,
    ) -> Result<ServerStep, CloseReason> {
        match core::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Hello(random) => self.on_hello(random, input, out, keys),
            Phase::Auth(auth) => self.on_auth(auth, input),
            Phase::Over => Err(ProtocolViolation::UnexpectedFrame.into()),
        }
    }

    fn on_hello(
        &mut self,
        random: ServerRandom,
        input: &mut &mut [u8],
        out: &mut Vec<u8>,
        keys: &dyn KeyLookup,
    ) -> Result<ServerStep, CloseReason> {
        if let Some(header) = input.first_chunk::<HEADER_LEN>().map(Header::parse) {
            match (header?.version, &self.settings.version_1) {
                (VERSION_1, Some(key)) => return Ok(self.version_1(key)),
                (VERSION_2, _) => {}
                (other, _) => return Err(CloseReason::UnsupportedVersion(other)),
            }
        }
        let Some(frame) = take_plain(input)? else {
            self.phase = Phase::Hello(random);
            return Ok(ServerStep::NeedMore);
        };
        if !is_bare(&frame.header, Opcode::Hello) || frame.tag != [0; TAG_LEN] {
            return Err(ProtocolViolation::UnexpectedFrame.into());
        }
        let hello = ClientHello::decode(frame.value)?;
        if !(hello.versions.0..=hello.versions.1).contains(&VERSION_2) {
            return Err(CloseReason::UnsupportedVersion(hello.versions.1));
        }
        let suite = hello
            .suites
            .iter()
            .filter_map(|&number| Suite::from_number(number))
            .find(|&suite| self.settings.suites.contains(suite) && hello.offers(suite))
            .ok_or(CloseReason::NoCommonSuite)?;
        let auth = self.welcome((&hello, frame.frame), suite, &random, out, keys)?;
        self.phase = Phase::Auth(Box::new(auth));
        Ok(ServerStep::Progress)
    }

    fn version_1(&self, key: &Secret) -> ServerStep {
        let max = self.settings.limits.frame_bytes_max;
        let mut opener = Opener::version_1_server(key.expose(), max);
        opener.limit_first_frame(HANDSHAKE_BODY_BYTES_MAX);
        ServerStep::Version1 {
            opener,
            sealer: Sealer::version_1(key.expose()),
        }
    }

    fn welcome(
        &self,
        (hello, hello_frame): (&ClientHello, &[u8]),
        suite: Suite,
        random: &ServerRandom,
        out: &mut Vec<u8>,
        keys: &dyn KeyLookup,
    ) -> Result<Auth, CloseReason> {
        let (share, shared) = match hello.share {
            Some(theirs) if suite == Suite::Encrypted => {
                let (share, shared) = agree(&random.x25519, &theirs)?;
                (Some(share), shared)
            }
            _ => (None, Zeroizing::new([0; 32])),
        };
        let capabilities = self.settings.capabilities.common(hello.capabilities);
        let value = Welcome {
            version: VERSION_2,
            suite,
            capabilities,
            session_id: random.session_id,
            nonce: random.nonce,
            software: self.settings.software.clone(),
            share,
            limits: self.settings.limits,
        }
        .encode();
        let start = write_frame(out, FrameHead::new(Opcode::Welcome, 0), &[], &[], &value);
        let frame = out.get_mut(start..).unwrap_or_default();
        let key_id = hello.key_id.as_deref().filter(|_| suite != Suite::Checksum);
        let (psk, accepted) = match suite {
            Suite::Checksum => (Secret::absent(), true),
            Suite::Hmac | Suite::Encrypted => keys.find(key_id),
        };
        let transcript = transcript_hash(hello_frame, &untagged(frame), &self.transport);
        let schedule = Schedule::new(&psk, &shared, &self.transport, suite, transcript);
        let tag = match suite {
            Suite::Checksum => checksum(&[
                frame.get(..HEADER_LEN).unwrap_or_default(),
                frame.get(PREFIX_LEN..).unwrap_or_default(),
            ]),
            Suite::Hmac | Suite::Encrypted => MacKey::new(schedule.server_confirm().as_slice())
                .tag(&[SERVER_CONFIRM, &transcript]),
        };
        if let Some(place) = frame.get_mut(HEADER_LEN..PREFIX_LEN) {
            place.copy_from_slice(&tag.to_bytes());
        }
        let confirm = (suite != Suite::Checksum).then(|| {
            let key = MacKey::new(schedule.client_confirm().as_slice());
            Zeroizing::new(key.tag(&[CLIENT_CONFIRM, &transcript]).to_bytes())
        });
        Ok(Auth {
            established: Established {
                opener: Opener::version_2(
                    suite,
                    schedule.client_to_server(),
                    HANDSHAKE_BODY_BYTES_MAX,
                ),
                sealer: Sealer::version_2(suite, schedule.server_to_client()),
                suite,
                capabilities,
                session_id: random.session_id,
                limits: self.settings.limits,
                peer_software: hello.software.clone(),
                key_id: key_id.map(Into::into),
            },
            confirm,
            accepted,
        })
    }

    fn on_auth(
        &mut self,
        mut auth: Box<Auth>,
        input: &mut &mut [u8],
    ) -> Result<ServerStep, CloseReason> {
        let Some(frame) = auth.established.opener.next(input)? else {
            self.phase = Phase::Auth(auth);
            return Ok(ServerStep::NeedMore);
        };
        let fits = frame.opcode() == Opcode::Auth.into()
            && frame.request_id() == 0
            && frame.ext().is_empty()
            && frame.key().is_empty()
            && !frame.flags().contains(crate::header::Flags::MORE);
        if !fits {
            return Err(ProtocolViolation::UnexpectedFrame.into());
        }
        let proven = match &auth.confirm {
            Some(expected) => subtle::ConstantTimeEq::ct_eq(expected.as_slice(), frame.value()),
            None => subtle::Choice::from(u8::from(frame.value().is_empty())),
        };
        if !bool::from(proven) || !auth.accepted {
            return Err(AuthFailed.into());
        }
        let Auth {
            mut established, ..
        } = *auth;
        established
            .opener
            .set_frame_bytes_max(self.settings.limits.frame_bytes_max);
        Ok(ServerStep::Established(Box::new(established)))
    }
}

/// Our public value and the shared secret.
pub(super) fn agree(
    secret: &[u8; 32],
    theirs: &[u8; 32],
) -> Result<([u8; 32], Zeroizing<[u8; 32]>), CloseReason> {
    let share = public(secret);
    let shared = Zeroizing::new(x25519_dalek::x25519(*secret, *theirs));
    // RFC 7748, section 6.1: an all-zero secret means a point of small order.
    if bool::from(subtle::ConstantTimeEq::ct_eq(
        shared.as_slice(),
        &[0; 32][..],
    )) {
        return Err(AuthFailed.into());
    }
    Ok((share, shared))
}

/// The public value of an X25519 secret.
pub(super) fn public(secret: &[u8; 32]) -> [u8; 32] {
    x25519_dalek::x25519(*secret, x25519_dalek::X25519_BASEPOINT_BYTES)
}
