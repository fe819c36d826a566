//! `handshake_server` and `handshake_client`: no bytes from a peer without the key complete a
//! handshake, and one that was changed on its way does not complete either.

use kv_proto::limits::SessionLimits;
use kv_proto::{
    Capabilities, ClientHandshake, ClientRandom, ClientSettings, ClientStep, CloseReason,
    KeyLookup, Secret, ServerHandshake, ServerRandom, ServerSettings, ServerStep, Suite, SuiteList,
    Transport,
};

use super::input::Input;

const KEY_ID: &str = "fuzz";
const KEY: [u8; 32] = [0x5a; 32];

/// The one key that exists. Nothing without it is wanted.
struct Ring;

impl KeyLookup for Ring {
    fn find(&self, key_id: Option<&str>) -> (Secret, bool) {
        let known = key_id == Some(KEY_ID);
        (Secret::new(if known { &KEY } else { &[0xa5; 32] }), known)
    }
}

fn server_settings(suite: Suite) -> ServerSettings {
    ServerSettings {
        suites: SuiteList::new(&[suite]),
        capabilities: Capabilities::LZ4,
        limits: SessionLimits::default(),
        software: "server".into(),
        version_1: None,
    }
}

fn server(settings: &ServerSettings) -> ServerHandshake<'_> {
    let random = ServerRandom {
        nonce: [2; 32],
        session_id: [3; 16],
        x25519: [4; 32],
    };
    ServerHandshake::new(settings, Transport::Plain, random)
}

fn client(suite: Suite, out: &mut Vec<u8>) -> ClientHandshake {
    let settings = ClientSettings {
        suites: SuiteList::new(&[suite]),
        capabilities: Capabilities::LZ4,
        key: Some((KEY_ID.into(), Secret::new(&KEY))),
        server_name: "localhost".into(),
        software: "client".into(),
    };
    let random = ClientRandom {
        nonce: [1; 32],
        x25519: [5; 32],
    };
    ClientHandshake::start(settings, Transport::Plain, random, out)
}

/// Suites that authenticate; suite 0 promises nothing to check here.
fn suite(choice: u8) -> Suite {
    if choice.is_multiple_of(2) {
        Suite::Hmac
    } else {
        Suite::Encrypted
    }
}

/// The client is the attacker: first with bytes of its own, or as the changer of an honest client's.
pub(super) fn server_role(data: &[u8]) {
    let mut input = Input::new(data);
    let choice = input.byte();
    let settings = server_settings(suite(choice));
    let step = usize::from(input.byte()).saturating_add(1);
    let mut server = server(&settings);
    let mut feed = Feed::new(step);
    let mut replies = Vec::new();
    if choice & 2 == 0 {
        let established = feed.server(&mut server, &mut replies, input.rest());
        assert_ne!(established, Ok(true), "a session without the key");
        return;
    }
    let mut hello = Vec::new();
    let mut client = client(suite(choice), &mut hello);
    let changed_hello = change(&mut input, &mut hello);
    let mut established = feed.server(&mut server, &mut replies, &hello);
    let mut auth = Vec::new();
    let mut welcome = replies.clone();
    let answered = matches!(
        client.recv(&mut welcome.as_mut_slice(), &mut auth),
        Ok(ClientStep::Established(_))
    );
    assert!(
        !(answered && changed_hello),
        "the client took WELCOME to a HELLO it never sent"
    );
    let changed_auth = change(&mut input, &mut auth);
    if established.is_ok() {
        auth.extend_from_slice(input.rest());
        established = feed.server(&mut server, &mut replies, &auth);
    }
    let honest = answered && !changed_auth;
    assert_eq!(established == Ok(true), honest, "{established:?}");
}

/// The server is the attacker.
pub(super) fn client_role(data: &[u8]) {
    let mut input = Input::new(data);
    let choice = input.byte();
    let mut hello = Vec::new();
    let mut client = client(suite(choice), &mut hello);
    let mut auth = Vec::new();
    if choice & 2 == 0 {
        let mut bytes = input.rest().to_vec();
        let result = client.recv(&mut bytes.as_mut_slice(), &mut auth);
        assert!(
            !matches!(result, Ok(ClientStep::Established(_))),
            "a server without the key"
        );
        assert!(
            auth.is_empty(),
            "something was said to a server without the key"
        );
        return;
    }
    let settings = server_settings(suite(choice));
    let mut server = server(&settings);
    let mut welcome = Vec::new();
    let step = server.recv(&mut hello.as_mut_slice(), &mut welcome, &Ring);
    assert!(
        matches!(step, Ok(ServerStep::Progress)),
        "an honest HELLO was refused"
    );
    let changed = change(&mut input, &mut welcome);
    let result = client.recv(&mut welcome.as_mut_slice(), &mut auth);
    let established = matches!(result, Ok(ClientStep::Established(_)));
    assert_eq!(established, !changed, "changed: {changed}");
    assert_eq!(auth.is_empty(), !established);
}

/// Changes a flight as the input says; whether it is another one now.
fn change(input: &mut Input<'_>, flight: &mut Vec<u8>) -> bool {
    let before = flight.clone();
    for _ in 0..input.below(4) {
        let at = usize::from(input.short())
            .checked_rem(flight.len())
            .unwrap_or(0);
        match input.byte() % 4 {
            0 => flight.truncate(at),
            1 => {
                let len = input.below(8);
                flight.splice(at..at, input.take(len).iter().copied());
            }
            choice => {
                let bit = if choice == 2 {
                    1 << (input.byte() % 8)
                } else {
                    input.byte()
                };
                if let Some(byte) = flight.get_mut(at) {
                    *byte ^= bit;
                }
            }
        }
    }
    *flight != before
}

/// The server's read buffer, filled in steps.
struct Feed {
    step: usize,
    buffer: Vec<u8>,
}

impl Feed {
    const fn new(step: usize) -> Self {
        Self {
            step,
            buffer: Vec::new(),
        }
    }

    /// Feeds `bytes`; whether there is a session then.
    fn server(
        &mut self,
        server: &mut ServerHandshake<'_>,
        out: &mut Vec<u8>,
        bytes: &[u8],
    ) -> Result<bool, CloseReason> {
        for piece in bytes.chunks(self.step) {
            self.buffer.extend_from_slice(piece);
            loop {
                let total = self.buffer.len();
                let mut rest = self.buffer.as_mut_slice();
                let step = server.recv(&mut rest, out, &Ring)?;
                let used = total.saturating_sub(rest.len());
                self.buffer.drain(..used);
                match step {
                    ServerStep::NeedMore => break,
                    ServerStep::Progress => assert!(used > 0, "progress without a frame"),
                    ServerStep::Version1 { .. } => return Ok(false),
                    ServerStep::Established(_) => return Ok(true),
                }
            }
        }
        Ok(false)
    }
}
