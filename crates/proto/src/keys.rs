//! The key schedule of version 2 (`docs/protocol.md`, "Handshake"): HKDF-SHA256 (RFC 5869) from the
//! pre-shared key, the X25519 secret and the TLS exporter, bound to the transcript.

use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::suite::{Secret, Suite};

/// 32 bytes of derived key, wiped when dropped.
pub type Key = Zeroizing<[u8; 32]>;

/// What carries the session, and what binds the session to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Plain TCP.
    Plain,
    /// TLS with its 32-byte exporter value (RFC 9266, `tls-exporter`).
    Tls([u8; 32]),
}

impl Transport {
    fn exporter(&self) -> [u8; 32] {
        match self {
            Self::Plain => [0; 32],
            Self::Tls(exporter) => *exporter,
        }
    }
}

/// `SHA-256(HELLO || WELCOME with its tag zeroed || transport)`.
#[must_use]
pub fn transcript_hash(hello: &[u8], welcome_untagged: &[u8], transport: &Transport) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(hello);
    hash.update(welcome_untagged);
    match transport {
        Transport::Plain => hash.update([0]),
        Transport::Tls(exporter) => {
            hash.update([1]);
            hash.update(exporter);
        }
    }
    hash.finalize().into()
}

/// The chaining key `ck2` and what every derived key is bound to.
pub struct Schedule {
    expand: Hkdf<Sha256>,
    suite: Suite,
    transcript: [u8; 32],
}

impl Schedule {
    /// `ck0 = Extract("kv/2", psk)`, `ck1 = Extract(ck0, shared)`, `ck2 = Extract(ck1, exporter)`.
    #[must_use]
    pub fn new(
        psk: &Secret,
        shared: &[u8; 32],
        transport: &Transport,
        suite: Suite,
        transcript: [u8; 32],
    ) -> Self {
        let (ck0, _) = Hkdf::<Sha256>::extract(Some(b"kv/2"), psk.expose());
        let (ck1, _) = Hkdf::<Sha256>::extract(Some(&ck0), shared);
        let (_, expand) = Hkdf::<Sha256>::extract(Some(&ck1), &transport.exporter());
        Self {
            expand,
            suite,
            transcript,
        }
    }

    /// `Expand(ck2, "kv/2 " || label || 0x00 || suite || transcript, 32)`.
    fn derive(&self, label: &str) -> Key {
        let mut key = Zeroizing::new([0; 32]);
        // 32 bytes are always within HKDF's bound of 255 blocks, so this cannot fail.
        let done = self.expand.expand_multi_info(
            &[
                b"kv/2 ",
                label.as_bytes(),
                &[0, self.suite.number()],
                &self.transcript,
            ],
            key.as_mut(),
        );
        debug_assert!(done.is_ok());
        key
    }

    /// The key that confirms the server in WELCOME's tag.
    #[must_use]
    pub fn server_confirm(&self) -> Key {
        self.derive("s conf")
    }

    /// The key that confirms the client in AUTH's value.
    #[must_use]
    pub fn client_confirm(&self) -> Key {
        self.derive("c conf")
    }

    /// The keys of client-to-server frames.
    #[must_use]
    pub fn client_to_server(&self) -> DirectionKeys {
        self.direction("c2s mac", "c2s key", "c2s iv")
    }

    /// The keys of server-to-client frames.
    #[must_use]
    pub fn server_to_client(&self) -> DirectionKeys {
        self.direction("s2c mac", "s2c key", "s2c iv")
    }

    fn direction(&self, mac: &str, key: &str, iv: &str) -> DirectionKeys {
        let iv = self.derive(iv);
        DirectionKeys {
            mac: self.derive(mac),
            cipher: self.derive(key),
            iv: iv.first_chunk::<12>().copied().unwrap_or_default(),
        }
    }

    /// The transcript hash everything is bound to.
    #[must_use]
    pub const fn transcript(&self) -> &[u8; 32] {
        &self.transcript
    }
}

/// What protects one direction of a session.
#[derive(Clone)]
pub struct DirectionKeys {
    /// HMAC key.
    pub mac: Key,
    /// AES-256 key; used in suite 2 only.
    pub cipher: Key,
    /// First 12 bytes of the counter block; stays the same over key updates.
    pub iv: [u8; 12],
}

impl DirectionKeys {
    /// The keys after a KEY_UPDATE to `epoch`: `Expand(K, "kv/2 upd" || be32(epoch), 32)` for the
    /// tag key and the cipher key.
    #[must_use]
    pub fn next(&self, epoch: u32) -> Self {
        let update = |key: &Key| {
            let mut next = Zeroizing::new([0; 32]);
            // A 32-byte key is a valid PRK of SHA-256, and 32 bytes are within the output bound.
            let done = Hkdf::<Sha256>::from_prk(key.as_slice()).is_ok_and(|expand| {
                expand
                    .expand_multi_info(&[b"kv/2 upd", &epoch.to_be_bytes()], next.as_mut())
                    .is_ok()
            });
            debug_assert!(done);
            next
        };
        Self {
            mac: update(&self.mac),
            cipher: update(&self.cipher),
            iv: self.iv,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn schedule(psk: &[u8], transport: Transport, suite: Suite) -> Schedule {
        Schedule::new(&Secret::new(psk), &[0; 32], &transport, suite, [7; 32])
    }

    #[test]
    fn every_label_suite_key_and_transport_gives_another_key() {
        let mut seen = BTreeSet::new();
        for suite in Suite::ALL {
            for psk in [&[1u8; 32][..], &[2; 32]] {
                for transport in [Transport::Plain, Transport::Tls([9; 32])] {
                    let s = schedule(psk, transport, suite);
                    for keys in [s.client_to_server(), s.server_to_client()] {
                        for key in [&keys.mac, &keys.cipher, &keys.next(1).mac] {
                            assert!(seen.insert(**key));
                        }
                    }
                    assert!(seen.insert(*s.server_confirm()));
                    assert!(seen.insert(*s.client_confirm()));
                }
            }
        }
        assert_eq!(seen.len(), 3 * 2 * 2 * 8);
    }

    #[test]
    fn a_plain_transcript_differs_from_one_with_a_zero_exporter() {
        let plain = transcript_hash(b"h", b"w", &Transport::Plain);
        assert_ne!(plain, transcript_hash(b"h", b"w", &Transport::Tls([0; 32])));
    }
}
