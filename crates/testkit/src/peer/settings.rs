//! What a scripted server offers.

use kv_proto::limits::SessionLimits;
use kv_proto::{Capabilities, KeyLookup, Secret, ServerSettings, Suite, SuiteList, Transport};

/// What a peer offers and which key it holds.
#[derive(Clone, Debug)]
pub struct PeerSettings {
    /// What the handshake offers.
    pub server: ServerSettings,
    /// The one key it knows; `None` accepts sessions without a key.
    pub key: Option<(Box<str>, Secret)>,
    /// Who READY says the client is.
    pub identity: Box<str>,
    /// What carries the session: under TLS, the exporter of that connection.
    pub transport: Transport,
}

impl Default for PeerSettings {
    /// Every suite, no key, the default limits.
    fn default() -> Self {
        Self {
            server: ServerSettings {
                suites: SuiteList::new(&Suite::ALL),
                capabilities: Capabilities::LZ4,
                limits: SessionLimits::default(),
                software: "peer/1".into(),
                version_1: None,
            },
            key: None,
            identity: "tester".into(),
            transport: Transport::Plain,
        }
    }
}

impl KeyLookup for PeerSettings {
    fn find(&self, key_id: Option<&str>) -> (Secret, bool) {
        match (&self.key, key_id) {
            (None, None) => (Secret::absent(), true),
            (Some((id, secret)), Some(named)) if **id == *named => (secret.clone(), true),
            _ => (Secret::new(&[0xEE; 32]), false),
        }
    }
}
