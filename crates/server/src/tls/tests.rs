//! Handshakes in memory, and the replacement of certificates.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kv_testkit::certs::{Authority, Leaf, client_config};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig};

use super::*;
use crate::config::{ClientAuth, Tls};

/// Drives both sides until they are done, or one refuses.
fn handshake(
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
) -> Result<(ServerConnection, ClientConnection), rustls::Error> {
    let name = ServerName::try_from("localhost").unwrap();
    let mut server = ServerConnection::new(server)?;
    let mut client = ClientConnection::new(client, name)?;
    // The server has the last word: a client is done before its certificate was looked at.
    while client.is_handshaking() || server.is_handshaking() || client.wants_write() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut wire = Vec::new();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    Ok((server, client))
}

/// A directory with the files of a server.
struct Fixture {
    directory: tempfile::TempDir,
    authority: Authority,
    settings: Tls,
}

fn fixture(leaf: impl Fn(&Authority) -> Leaf) -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new("kv test");
    let (cert_file, key_file) = leaf(&authority).write(directory.path(), "server");
    let settings = Tls {
        cert_file,
        key_file,
        client_auth: ClientAuth::Off,
        identity_from: IdentityFrom::Off,
        reload_interval: std::time::Duration::from_secs(60),
        allow_expired: false,
    };
    Fixture {
        directory,
        authority,
        settings,
    }
}

impl Fixture {
    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn ca_file(&self) -> PathBuf {
        self.authority.write(self.path(), "ca")
    }

    fn required(mut self, identity_from: IdentityFrom) -> Self {
        self.settings.client_auth = ClientAuth::Required {
            ca_file: self.ca_file(),
        };
        self.settings.identity_from = identity_from;
        self
    }

    fn open(&self) -> Result<CertStore, TlsError> {
        CertStore::open(self.settings.clone())
    }

    fn client(&self, leaf: Option<&Leaf>) -> Arc<ClientConfig> {
        client_config(&self.authority, leaf, &[ALPN])
    }
}

#[test]
fn both_sides_agree_on_tls_1_3_the_protocol_and_the_binding() {
    let fixture = fixture(Authority::server);
    let store = fixture.open().unwrap();
    let (server, client) = handshake(store.current(), fixture.client(None)).unwrap();
    assert_eq!(
        server.protocol_version(),
        Some(rustls::ProtocolVersion::TLSv1_3)
    );
    let session = session(&server, store.identity_from()).unwrap();
    let clients = client
        .export_keying_material([0; 32], EXPORTER_LABEL, None)
        .unwrap();
    assert_eq!(*session.exporter, clients);
    assert_ne!(clients, [0; 32]);
    assert!(session.peer.is_none());
}

#[test]
fn another_application_protocol_is_refused_and_so_is_none() {
    let fixture = fixture(Authority::server);
    let store = fixture.open().unwrap();
    let other = client_config(&fixture.authority, None, &[b"http/1.1"]);
    let error = handshake(store.current(), other).unwrap_err();
    assert_eq!(error, rustls::Error::NoApplicationProtocol);
    let counted = failed_result(&io::Error::other(error));
    assert_eq!(counted, TlsResult::Alpn);

    let silent = client_config(&fixture.authority, None, &[]);
    let (server, _) = handshake(store.current(), silent).unwrap();
    let refused = session(&server, IdentityFrom::Off).unwrap_err();
    assert!(matches!(refused, TlsRefused::Alpn));
    assert_eq!(refused.result(), TlsResult::Alpn);
}

#[test]
fn early_data_and_tickets_are_off() {
    let config = fixture(Authority::server).open().unwrap().current();
    assert_eq!(
        (config.max_early_data_size, config.send_tls13_tickets),
        (0, 0)
    );
    assert!(!config.session_storage.can_cache() && !config.ticketer.enabled());
}

#[test]
fn a_required_client_certificate_must_be_there_valid_and_from_the_authority() {
    let fixture = fixture(Authority::server).required(IdentityFrom::CommonName);
    let store = fixture.open().unwrap();
    let right = fixture.authority.client("app1", None);
    let (server, _) = handshake(store.current(), fixture.client(Some(&right))).unwrap();
    let peer = session(&server, store.identity_from())
        .unwrap()
        .peer
        .unwrap();
    assert_eq!(peer.identity().name(), "app1");

    let stranger = Authority::new("kv test").client("app1", None);
    let expired = fixture.authority.expired_client("app1");
    for leaf in [None, Some(&stranger), Some(&expired)] {
        let error = handshake(store.current(), fixture.client(leaf)).unwrap_err();
        assert_eq!(
            failed_result(&io::Error::other(error)),
            TlsResult::Certificate
        );
    }
}

#[test]
fn an_optional_client_certificate_may_be_absent_but_not_wrong() {
    let mut fixture = fixture(Authority::server);
    fixture.settings.client_auth = ClientAuth::Optional {
        ca_file: fixture.ca_file(),
    };
    fixture.settings.identity_from = IdentityFrom::SanUri;
    let store = fixture.open().unwrap();
    let (server, _) = handshake(store.current(), fixture.client(None)).unwrap();
    assert!(
        session(&server, store.identity_from())
            .unwrap()
            .peer
            .is_none()
    );
    let stranger = Authority::new("other").client("app1", Some("spiffe://kv/app1"));
    assert!(handshake(store.current(), fixture.client(Some(&stranger))).is_err());
}

#[test]
fn the_identity_is_what_the_configuration_asks_for_or_nobody() {
    let fixture = fixture(Authority::server).required(IdentityFrom::SanUri);
    let store = fixture.open().unwrap();
    let of = |leaf: &Leaf, from| {
        let (server, _) = handshake(store.current(), fixture.client(Some(leaf))).unwrap();
        session(&server, from)
    };
    let both = fixture.authority.client("app1", Some("spiffe://kv/app1"));
    let name = |from| {
        of(&both, from)
            .unwrap()
            .peer
            .map(|p| p.identity().name().to_owned())
    };
    assert_eq!(
        name(IdentityFrom::SanUri).as_deref(),
        Some("spiffe://kv/app1")
    );
    assert_eq!(name(IdentityFrom::CommonName).as_deref(), Some("app1"));
    assert_eq!(name(IdentityFrom::Off), None);

    let no_uri = fixture.authority.client("app1", None);
    let refused = of(&no_uri, IdentityFrom::SanUri).unwrap_err();
    assert!(matches!(
        refused,
        TlsRefused::Identity(IdentityError::Absent(_))
    ));
    assert_eq!(refused.result(), TlsResult::Certificate);
    let long = fixture.authority.client(&"x".repeat(256), None);
    let refused = of(&long, IdentityFrom::CommonName).unwrap_err();
    assert!(matches!(
        refused,
        TlsRefused::Identity(IdentityError::Name(_))
    ));
}

#[test]
fn files_that_cannot_serve_are_refused_by_name() {
    let good = fixture(Authority::server);
    let (cert, key) = (
        good.settings.cert_file.clone(),
        good.settings.key_file.clone(),
    );
    let original = std::fs::read(&key).unwrap();

    let stranger = Authority::new("other").server();
    std::fs::write(&key, &stranger.key_pem).unwrap();
    assert!(matches!(good.open(), Err(TlsError::Pair { .. })));
    std::fs::write(&key, "nothing").unwrap();
    assert!(matches!(
        good.open(),
        Err(TlsError::NoPem {
            what: "private key",
            ..
        })
    ));
    std::fs::remove_file(&key).unwrap();
    assert!(matches!(good.open(), Err(TlsError::Unreadable { path, .. }) if path == key));
    std::fs::write(&key, original).unwrap();
    std::fs::write(&cert, "").unwrap();
    assert!(matches!(
        good.open(),
        Err(TlsError::NoPem {
            what: "certificate",
            ..
        })
    ));

    let no_ca = fixture(Authority::server).required(IdentityFrom::Off);
    std::fs::write(no_ca.path().join("ca.crt"), "").unwrap();
    assert!(matches!(no_ca.open(), Err(TlsError::NoPem { .. })));
}

#[test]
fn an_expired_certificate_is_refused_at_start_unless_told() {
    let mut fixture = fixture(Authority::expired_server);
    let error = fixture.open().unwrap_err();
    assert!(
        matches!(error, TlsError::OutOfDate { expired: true, .. }),
        "{error}"
    );
    fixture.settings.allow_expired = true;
    let ends = fixture.open().unwrap().times().server.unwrap();
    assert_eq!(ends, 978_307_200, "2001-01-01");
}

#[test]
fn new_files_serve_new_connections_and_bad_ones_change_nothing() {
    let fixture = fixture(Authority::server);
    let store = fixture.open().unwrap();
    let before = store.current();
    assert_eq!(store.reload_if_changed().unwrap(), Reload::Unchanged);
    assert!(Arc::ptr_eq(&before, &store.current()));

    // Half a rotation: the certificate is new, the key still the old one.
    let next = fixture.authority.server();
    std::fs::write(&fixture.settings.cert_file, &next.cert_pem).unwrap();
    assert!(matches!(
        store.reload_if_changed(),
        Err(TlsError::Pair { .. })
    ));
    assert!(Arc::ptr_eq(&before, &store.current()));
    handshake(store.current(), fixture.client(None)).unwrap();

    std::fs::write(&fixture.settings.key_file, &next.key_pem).unwrap();
    assert_eq!(store.reload_if_changed().unwrap(), Reload::Replaced);
    assert!(!Arc::ptr_eq(&before, &store.current()));
    handshake(store.current(), fixture.client(None)).unwrap();
    assert_eq!(store.reload_if_changed().unwrap(), Reload::Unchanged);

    let expired = fixture.authority.expired_server();
    let _ = expired.write(fixture.path(), "server");
    assert!(matches!(
        store.reload_if_changed(),
        Err(TlsError::OutOfDate { .. })
    ));
    handshake(store.current(), fixture.client(None)).unwrap();
}

#[test]
fn replaced_authorities_decide_about_new_connections() {
    let fixture = fixture(Authority::server).required(IdentityFrom::Off);
    let store = fixture.open().unwrap();
    let next = Authority::new("next");
    let (old_leaf, new_leaf) = (fixture.authority.client("a", None), next.client("a", None));
    assert!(handshake(store.current(), fixture.client(Some(&old_leaf))).is_ok());
    assert!(handshake(store.current(), fixture.client(Some(&new_leaf))).is_err());
    let _ = next.write(fixture.path(), "ca");
    assert_eq!(store.reload_if_changed().unwrap(), Reload::Replaced);
    assert!(handshake(store.current(), fixture.client(Some(&old_leaf))).is_err());
    assert!(handshake(store.current(), fixture.client(Some(&new_leaf))).is_ok());
    assert!(store.times().client_ca.is_some());
}

#[test]
fn bytes_that_are_no_tls_are_an_error() {
    let store = fixture(Authority::server).open().unwrap();
    let mut server = ServerConnection::new(store.current()).unwrap();
    server
        .read_tls(&mut b"GET / HTTP/1.1\r\n\r\n".as_slice())
        .unwrap();
    let error = server.process_new_packets().unwrap_err();
    assert_eq!(failed_result(&io::Error::other(error)), TlsResult::Error);
}
