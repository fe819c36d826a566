//! What protects a frame on its way: nothing, a checksum, a tag, a tag and a cipher, TLS, or TLS and
//! one of the others. All in memory, so that only the processor counts.

use std::io::{Read, Write};
use std::sync::Arc;

use kv_proto::limits::FRAME_BYTES_MAX;
use kv_proto::{
    FrameHead, Opcode, Opener, Schedule, Sealer, Secret, Suite, Transport, write_frame,
};
use kv_testkit::certs::{Authority, client_config};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConnection, ServerConfig, ServerConnection};

/// One way to protect frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// As in tables.
    pub name: &'static str,
    /// Tag and cipher of the frame itself.
    pub suite: Option<Suite>,
    /// Whether TLS 1.3 is around it.
    pub tls: bool,
}

const fn way(name: &'static str, suite: Option<Suite>, tls: bool) -> Way {
    Way { name, suite, tls }
}

/// Every way; the first is what all of them do beside protecting.
pub const WAYS: [Way; 7] = [
    way("write only", None, false),
    way("suite 0", Some(Suite::Checksum), false),
    way("suite 1", Some(Suite::Hmac), false),
    way("suite 2", Some(Suite::Encrypted), false),
    way("TLS alone", None, true),
    way("TLS, suite 0", Some(Suite::Checksum), true),
    way("TLS, suite 1", Some(Suite::Hmac), true),
];

/// Both ends of a session of which one direction is used.
pub struct Link {
    sealer: Option<Sealer>,
    opener: Option<Opener>,
    tls: Option<Box<Tls>>,
    out: Vec<u8>,
}

impl Link {
    /// Handshakes done.
    #[must_use]
    pub fn new(way: Way) -> Self {
        let schedule = |suite| {
            Schedule::new(
                &Secret::new(&[7; 32]),
                &[0; 32],
                &Transport::Plain,
                suite,
                [9; 32],
            )
        };
        Self {
            sealer: way
                .suite
                .map(|suite| Sealer::version_2(suite, schedule(suite).server_to_client())),
            opener: way.suite.map(|suite| {
                Opener::version_2(suite, schedule(suite).server_to_client(), FRAME_BYTES_MAX)
            }),
            tls: way.tls.then(|| Box::new(Tls::new())),
            out: Vec::new(),
        }
    }

    /// Writes so many frames with this value, protects them, and verifies what arrives.
    ///
    /// # Panics
    /// If anything else arrives.
    pub fn transfer(&mut self, frames: usize, value: &[u8]) {
        self.out.clear();
        for id in 0..frames {
            let head = FrameHead::new(Opcode::Ok, id as u32 + 1);
            let version = [2, 8, 0, 0, 0, 0, 0, 0, 0, 1];
            let start = write_frame(&mut self.out, head, &version, &[], value);
            if let Some(sealer) = &mut self.sealer {
                sealer.seal(&mut self.out, start);
            }
        }
        let arrived = match &mut self.tls {
            None => &mut self.out,
            Some(tls) => tls.carry(&self.out),
        };
        let Some(opener) = &mut self.opener else {
            std::hint::black_box(arrived);
            return;
        };
        let mut input = arrived.as_mut_slice();
        for _ in 0..frames {
            let frame = opener.next(&mut input).unwrap().unwrap();
            assert_eq!(frame.value().len(), value.len());
        }
        assert!(input.is_empty());
    }

    /// The name of the cipher that TLS agreed on.
    #[must_use]
    pub fn cipher(&self) -> Option<String> {
        let suite = self.tls.as_ref()?.client.negotiated_cipher_suite()?;
        Some(format!("{:?}", suite.suite()))
    }
}

struct Tls {
    server: ServerConnection,
    client: ClientConnection,
    wire: Vec<u8>,
    arrived: Vec<u8>,
}

impl Tls {
    fn new() -> Self {
        let authority = Authority::new("comparisons");
        let leaf = authority.server();
        let chain = vec![CertificateDer::from_pem_slice(leaf.cert_pem.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let client = client_config(&authority, None, &[]);
        let mut tls = Self {
            server: ServerConnection::new(Arc::new(config)).unwrap(),
            client: ClientConnection::new(client, "localhost".try_into().unwrap()).unwrap(),
            wire: Vec::new(),
            arrived: Vec::new(),
        };
        while tls.server.is_handshaking() || tls.client.is_handshaking() {
            tls.wire.clear();
            while tls.client.wants_write() {
                tls.client.write_tls(&mut tls.wire).unwrap();
            }
            let mut wire = tls.wire.as_slice();
            while !wire.is_empty() {
                tls.server.read_tls(&mut wire).unwrap();
                tls.server.process_new_packets().unwrap();
            }
            tls.reach_client();
        }
        // The session tickets come behind the handshake.
        tls.reach_client();
        tls
    }

    fn reach_client(&mut self) {
        self.wire.clear();
        while self.server.wants_write() {
            self.server.write_tls(&mut self.wire).unwrap();
        }
        let mut wire = self.wire.as_slice();
        while !wire.is_empty() {
            self.client.read_tls(&mut wire).unwrap();
            let state = self.client.process_new_packets().unwrap();
            let start = self.arrived.len();
            self.arrived
                .resize(start + state.plaintext_bytes_to_read(), 0);
            self.client
                .reader()
                .read_exact(&mut self.arrived[start..])
                .unwrap();
        }
    }

    fn carry(&mut self, bytes: &[u8]) -> &mut Vec<u8> {
        self.arrived.clear();
        let mut rest = bytes;
        while !rest.is_empty() {
            // What it takes at once is bounded.
            let taken = self.server.writer().write(rest).unwrap();
            rest = &rest[taken..];
            self.reach_client();
        }
        &mut self.arrived
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_carries_every_frame() {
        for way in WAYS {
            let mut link = Link::new(way);
            for (frames, len) in [(1, 0), (16, 64), (3, 100_000)] {
                link.transfer(frames, &vec![5; len]);
            }
            assert_eq!(link.cipher().is_some(), way.tls);
        }
    }
}
