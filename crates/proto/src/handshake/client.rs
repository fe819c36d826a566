//! The client's side of the handshake.

use zeroize::{Zeroize, Zeroizing};

use super::hello::ClientHello;
use super::server::{agree, public};
use super::welcome::Welcome;
use super::{CLIENT_CONFIRM, Established, Plain, SERVER_CONFIRM, is_bare, take_plain, untagged};
use crate::error::{AuthFailed, CloseReason, ProtocolViolation};
use crate::header::{HEADER_LEN, PREFIX_LEN, VERSION_1, VERSION_2};
use crate::keys::{Schedule, Transport, transcript_hash};
use crate::limits::FRAME_BYTES_MAX;
use crate::mac::{MacKey, checksum};
use crate::opcode::Opcode;
use crate::open::Opener;
use crate::seal::{FrameHead, Sealer, write_frame};
use crate::suite::{Capabilities, Secret, Suite, SuiteList};

/// What a client offers.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// Suites, preferred first. Suite 0 is dropped when there is a key: a client that can sign never
    /// lets itself be talked out of it.
    pub suites: SuiteList,
    /// What the client can do.
    pub capabilities: Capabilities,
    /// Key id and secret; `None` is anonymous or a TLS certificate.
    pub key: Option<(Box<str>, Secret)>,
    /// The name the client wants to reach.
    pub server_name: Box<str>,
    /// Name and version of the software.
    pub software: Box<str>,
}

/// Randomness of one client handshake.
pub struct ClientRandom {
    /// HELLO's nonce.
    pub nonce: [u8; 32],
    /// X25519 secret; used when suite 2 is offered, wiped afterwards.
    pub x25519: [u8; 32],
}

impl Drop for ClientRandom {
    fn drop(&mut self) {
        self.x25519.zeroize();
    }
}

/// What [`ClientHandshake::recv`] came to.
pub enum ClientStep {
    /// WELCOME is not complete.
    NeedMore,
    /// The server refused before a session existed, with this text.
    Refused(Box<str>),
    /// The server proved its key and AUTH was appended. Requests may follow at once; the first frame
    /// received must be READY.
    Established(Box<Established>),
}

/// The client's handshake. One per connection; after an error the connection is over.
pub struct ClientHandshake {
    settings: ClientSettings,
    transport: Transport,
    random: ClientRandom,
    hello: Vec<u8>,
}

impl ClientHandshake {
    /// Appends HELLO to `out` and waits for WELCOME.
    #[must_use]
    pub fn start(
        mut settings: ClientSettings,
        transport: Transport,
        random: ClientRandom,
        out: &mut Vec<u8>,
    ) -> Self {
        if settings.key.is_some() {
            let signed: Vec<Suite> = settings
                .suites
                .iter()
                .filter(|&suite| suite != Suite::Checksum)
                .collect();
            settings.suites = SuiteList::new(&signed);
        }
        let share = settings
            .suites
            .contains(Suite::Encrypted)
            .then(|| public(&random.x25519));
        let value = ClientHello {
            versions: (VERSION_2, VERSION_2),
            suites: settings.suites.iter().map(Suite::number).collect(),
            capabilities: settings.capabilities,
            key_id: settings.key.as_ref().map(|(id, _)| id.clone()),
            nonce: random.nonce,
            server_name: settings.server_name.clone(),
            share,
            software: settings.software.clone(),
        }
        .encode();
        let start = write_frame(out, FrameHead::new(Opcode::Hello, 0), &[], &[], &value);
        let hello = out.get(start..).unwrap_or_default().to_vec();
        Self {
            settings,
            transport,
            random,
            hello,
        }
    }

    /// Handles WELCOME from the front of `input`; AUTH is appended to `out`.
    ///
    /// # Errors
    /// [`CloseReason::Auth`] when the server does not hold the key; other reasons for a server that
    /// breaks the protocol.
    pub fn recv(
        &mut self,
        input: &mut &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<ClientStep, CloseReason> {
        let Some(frame) = take_plain(input)? else {
            return Ok(ClientStep::NeedMore);
        };
        if frame.header.version == VERSION_1 && frame.header.opcode == Opcode::Err.into() {
            let text = String::from_utf8_lossy(frame.value);
            return Ok(ClientStep::Refused(text.escape_debug().take(400).collect()));
        }
        if !is_bare(&frame.header, Opcode::Welcome) {
            return Err(ProtocolViolation::UnexpectedFrame.into());
        }
        let welcome = Welcome::decode(frame.value)?;
        let asked = welcome.version == VERSION_2
            && self.settings.suites.contains(welcome.suite)
            && self.settings.capabilities.contains(welcome.capabilities)
            && welcome.share.is_some() == (welcome.suite == Suite::Encrypted);
        if !asked {
            return Err(CloseReason::NoCommonSuite);
        }
        self.establish(welcome, &frame, out)
            .map(|e| ClientStep::Established(Box::new(e)))
    }

    fn establish(
        &self,
        welcome: Welcome,
        frame: &Plain<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Established, CloseReason> {
        let suite = welcome.suite;
        let shared = match welcome.share {
            Some(theirs) => agree(&self.random.x25519, &theirs)?.1,
            None => Zeroizing::new([0; 32]),
        };
        let psk = self
            .settings
            .key
            .as_ref()
            .map_or_else(Secret::absent, |(_, key)| key.clone());
        let transcript = transcript_hash(&self.hello, &untagged(frame.frame), &self.transport);
        let schedule = Schedule::new(&psk, &shared, &self.transport, suite, transcript);
        let expected = match suite {
            Suite::Checksum => checksum(&[
                frame.frame.get(..HEADER_LEN).unwrap_or_default(),
                frame.frame.get(PREFIX_LEN..).unwrap_or_default(),
            ]),
            Suite::Hmac | Suite::Encrypted => MacKey::new(schedule.server_confirm().as_slice())
                .tag(&[SERVER_CONFIRM, &transcript]),
        };
        expected
            .verify(&frame.tag)
            .map_err(|AuthFailed| CloseReason::Auth(AuthFailed))?;

        let mut sealer = Sealer::version_2(suite, schedule.client_to_server());
        let proof = (suite != Suite::Checksum).then(|| {
            let key = MacKey::new(schedule.client_confirm().as_slice());
            key.tag(&[CLIENT_CONFIRM, &transcript]).to_bytes()
        });
        let value = proof.as_ref().map_or(&[][..], <[u8; 32]>::as_slice);
        let start = write_frame(out, FrameHead::new(Opcode::Auth, 0), &[], &[], value);
        sealer.seal(out, start);
        Ok(Established {
            // A server sends pieces of 64 KiB, and never frames above what may be negotiated.
            opener: Opener::version_2(suite, schedule.server_to_client(), FRAME_BYTES_MAX),
            sealer,
            suite,
            capabilities: welcome.capabilities,
            session_id: welcome.session_id,
            limits: welcome.limits,
            peer_software: welcome.software,
            key_id: self.settings.key.as_ref().map(|(id, _)| id.clone()),
        })
    }
}
