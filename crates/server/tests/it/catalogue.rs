//! Rows of the catalogue of faults and attacks that have no other place, each named at its test.

use std::path::Path;
use std::time::Duration;

use kv_client::{MultiplexedClient, Tls};
use kv_proto::Secret;
use kv_server::Command;
use kv_testkit::certs::Authority;
use kv_testkit::wait::{until, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{Setup, builder, write_key};

/// Rows that apply to this release or say what they wait for.
fn rows() -> Vec<String> {
    let range =
        |letter: char, first: u32, last: u32| (first..=last).map(move |n| format!("{letter}{n}"));
    range('P', 1, 21)
        .chain(range('C', 1, 16))
        .chain(range('R', 1, 10))
        .chain(range('S', 9, 12))
        .collect()
}

#[test]
fn every_row_of_the_catalogue_is_there_and_every_test_it_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = std::fs::read_to_string(root.join("docs/catalogue.md")).unwrap();
    let mut seen = Vec::new();
    for line in page.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [row, _, _, tests] = cells[..] else {
            panic!("not four cells: {line}")
        };
        if row == "#" {
            continue;
        }
        seen.push(row.to_owned());
        let mut named = 0;
        for (file, test) in tests.split('`').filter_map(|code| code.split_once("::")) {
            let source = std::fs::read_to_string(root.join("crates").join(file)).expect(file);
            assert!(
                source.contains(&format!("fn {test}(")),
                "{file} has no {test}"
            );
            named += 1;
        }
        assert!(named > 0 || tests.starts_with("with "), "{row} has no test");
    }
    assert_eq!(seen, rows());
}

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
        let read = tokio::time::timeout(Duration::ZERO, stream.read_u8());
        assert!(read.await.is_err(), "it is still waited for");
    }
}

/// C9: two keys of one identity. While one of them changes, whoever uses the other notices nothing.
#[tokio::test]
async fn rotating_one_of_two_keys_fails_no_request_of_the_other() {
    let directory = tempfile::tempdir().unwrap();
    write_key(directory.path(), "next", &[0x66; 32]);
    let key = "[[auth.keys]]\nid = \"next\"\nidentity = \"app\"\nsecret_file = \"next.key\"\n\
               roles = [\"admin\"]\n";
    let server = Setup::new().toml(key).start_in(directory).await;
    let address = server.address.to_string();
    let old = server.client().await;
    let moved = MultiplexedClient::builder().key("next", Secret::new(&[0x66; 32]));
    let moved = within(moved.connect(address)).await.unwrap();
    let mut load = tokio::task::JoinSet::new();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    load.spawn(async move {
        let mut done = 0_u64;
        while !*stopped.borrow() {
            moved.set("k", b"v").await.unwrap();
            done += 1;
        }
        done
    });
    write_key(server.directory(), "app", &[0x77; 32]);
    server.control.send(Command::Reload);
    until(async || {
        let call = tokio::time::timeout(Duration::from_secs(1), async { old.get("k").await });
        call.await.map_or(true, |got| got.is_err()).then_some(())
    })
    .await;
    stop.send(true).unwrap();
    let done = within(load.join_next()).await.unwrap().unwrap();
    assert!(done > 0);
}
