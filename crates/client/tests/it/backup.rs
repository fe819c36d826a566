//! Backups: whole, or an error; never less than what the server read.

use kv_client::{BackupItem, Error, ErrorKind, MultiplexedClient, Retry};
use kv_proto::{ErrorCode, Extensions, FrameHead, Opcode};
use kv_testkit::peer::{Peer, Received};
use tokio::io::DuplexStream;

use crate::support::pair;

/// When the backups here are taken.
const TAKEN: u64 = 1_000_000;

/// Of no entries, and of the one that [`entry`] sends.
const NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const ONE: &str = "a55b701cd0798d10e5bdcc20b91923f47f1f0d049586e579067a9210423ab06a";

async fn item(
    peer: &mut Peer<DuplexStream>,
    id: u32,
    ext: Extensions<'_>,
    key: &[u8],
    value: &[u8],
) {
    let ext = ext.encode();
    let head = FrameHead::new(Opcode::Item, id);
    peer.ends().send(head, ext.as_bytes(), key, value);
    peer.flush().await.unwrap();
}

async fn opening(peer: &mut Peer<DuplexStream>, format: u64) -> Received {
    let request = peer.next_request().await.unwrap().unwrap();
    assert!(request.is(Opcode::Backup));
    let note: Vec<u8> = [format, TAKEN, 9]
        .iter()
        .flat_map(|n| n.to_be_bytes())
        .collect();
    let version = Extensions {
        version: Some(77),
        ..Extensions::default()
    };
    item(peer, request.id, version, &[], &note).await;
    request
}

async fn entry(peer: &mut Peer<DuplexStream>, id: u32) {
    let ext = Extensions {
        ttl_ms: Some(5),
        version: Some(3),
        content_type: Some(1),
        ..Extensions::default()
    };
    item(peer, id, ext, b"key", b"value").await;
}

async fn closing(peer: &mut Peer<DuplexStream>, id: u32, count: u64, checksum: &str) {
    let mut note = count.to_be_bytes().to_vec();
    for digits in checksum.as_bytes().chunks(2) {
        let digits = std::str::from_utf8(digits).unwrap();
        note.push(u8::from_str_radix(digits, 16).unwrap());
    }
    item(peer, id, Extensions::default(), &[], &note).await;
    peer.send(Opcode::End, id, &[]).await.unwrap();
}

async fn all(client: &MultiplexedClient) -> Result<Vec<BackupItem>, Error> {
    let mut backup = client.backup();
    let mut items = Vec::new();
    while let Some(item) = backup.next().await {
        items.push(item?);
    }
    assert!(backup.next().await.is_none());
    Ok(items)
}

#[tokio::test]
async fn a_whole_backup_says_when_what_and_how_much() {
    let (client, mut peer) = pair().await;
    let serving = async {
        let request = opening(&mut peer, 1).await;
        entry(&mut peer, request.id).await;
        closing(&mut peer, request.id, 1, ONE).await;
    };
    let (items, ()) = tokio::join!(all(&client), serving);
    let items = items.unwrap();
    assert!(matches!(
        items[0],
        BackupItem::Opening {
            taken_at_ms: TAKEN,
            position: 77,
            entries_hint: 9,
            ..
        }
    ));
    let BackupItem::Entry(entry) = &items[1] else {
        panic!("{items:?}")
    };
    assert_eq!(
        (&entry.key[..], &entry.value[..]),
        (&b"key"[..], &b"value"[..])
    );
    assert_eq!((entry.version, entry.expires_at_ms), (3, Some(TAKEN + 5)));
    assert!(matches!(items[2], BackupItem::Closing { entries: 1, .. }));
    assert_eq!(items.len(), 3);
}

#[tokio::test]
async fn a_backup_that_is_not_whole_is_an_error() {
    for case in 0..6 {
        let (client, mut peer) = pair().await;
        let serving = async {
            let format = if case == 0 { 2 } else { 1 };
            let request = opening(&mut peer, format).await;
            let id = request.id;
            if case != 1 {
                entry(&mut peer, id).await;
            }
            match case {
                // An entry is missing, one too many is, or one is not what was read.
                1 => closing(&mut peer, id, 1, ONE).await,
                2 => closing(&mut peer, id, 2, ONE).await,
                3 => closing(&mut peer, id, 1, NOTHING).await,
                // It ends without its last item.
                4 => peer.send(Opcode::End, id, &[]).await.unwrap(),
                _ => {
                    peer.ends().error(id, ErrorCode::Corrupt, 0);
                    peer.flush().await.unwrap();
                }
            }
        };
        let (items, ()) = tokio::join!(all(&client), serving);
        let error = items.unwrap_err();
        match case {
            5 => assert_eq!(error.code(), Some(ErrorCode::Corrupt)),
            _ => assert!(
                matches!(error.kind(), ErrorKind::UnusableReply(_)),
                "{case}: {error:?}"
            ),
        }
    }
}

#[tokio::test]
async fn a_backup_whose_connection_is_lost_does_not_go_on_elsewhere() {
    let (client, mut peer) = pair().await;
    let serving = async {
        let request = opening(&mut peer, 1).await;
        entry(&mut peer, request.id).await;
        drop(peer);
    };
    let (items, ()) = tokio::join!(all(&client), serving);
    let error = items.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ConnectionLost));
    assert_eq!(error.retry(), Retry::Safe);
}
