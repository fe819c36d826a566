//! Rows of the catalogue of faults and attacks that have no other place, each named at its test.

use kv_client::Tls;
use kv_testkit::certs::Authority;
use kv_testkit::wait::within;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{Setup, builder};

/// A TLS record with the beginning of a handshake message: the server has to wait for the rest.
const HALF_A_CLIENT_HELLO: &[u8] = &[0x16, 3, 1, 0x02, 0x00, 1, 0, 0x01, 0xFC, 3, 3];

/// P8, R8: peers that begin TLS and stop hold no turn while they are waited for.
#[tokio::test]
async fn silent_tls_peers_do_not_keep_others_from_their_handshake() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new("kv test");
    let _ = authority.server().write(directory.path(), "server");
    let server = Setup::new()
        .tls()
        .limits("max_concurrent_tls_handshakes = 1\nauthentication_timeout_tls = \"60s\"")
        .toml("[tls]\ncert_file = \"server.crt\"\nkey_file = \"server.key\"\n")
        .start_in(directory)
        .await;
    let mut silent = Vec::new();
    for said in [0, 1, HALF_A_CLIENT_HELLO.len()] {
        let mut stream = server.dial().await;
        stream
            .write_all(&HALF_A_CLIENT_HELLO[..said])
            .await
            .unwrap();
        silent.push(stream);
    }
    let trust = Tls::new()
        .ca_pem(authority.pem().as_bytes())
        .server_name("localhost");
    let address = server.address.to_string();
    let client = within(builder().tls(trust).connect(address)).await.unwrap();
    assert_eq!(client.get("k").await.unwrap(), None);
    for stream in &mut silent {
        let read = tokio::time::timeout(std::time::Duration::ZERO, stream.read_u8());
        assert!(read.await.is_err(), "it is still waited for");
    }
}
