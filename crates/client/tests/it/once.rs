//! Writes that are repeated safely: one operation number each, the same in every attempt.

use std::time::Duration;

use kv_client::{ErrorKind, Retry};
use kv_proto::{ErrorCode, Idempotency, Opcode};
use kv_testkit::peer::Received;
use tokio::time::Instant;

use crate::support::{Network, begun, builder};

fn name(message: &Received) -> Option<Idempotency> {
    message.extensions().idempotency
}

#[tokio::test]
async fn a_write_is_repeated_under_its_number_until_it_is_answered() {
    let (client, mut network, mut peer) = Network::with(builder().retry_writes()).await;
    let write = begun(client.incr("n", 1)).await;
    let first = peer.next().await.unwrap().unwrap();
    assert!(first.is(Opcode::Incr) && name(&first).is_some());
    drop(peer);
    let serving = async {
        for last in [false, true] {
            let mut peer = network.accept().await;
            let again = peer.next_request().await.unwrap().unwrap();
            assert_eq!(
                (again.opcode, &again.key, &again.value),
                (first.opcode, &first.key, &first.value)
            );
            assert_eq!(name(&again), name(&first));
            if last {
                peer.ends().ok(again.id, 1, &7i64.to_be_bytes());
                peer.flush().await.unwrap();
                return peer;
            }
        }
        panic!("the last attempt was answered")
    };
    let (write, _peer) = tokio::join!(write, serving);
    assert_eq!(write.unwrap(), 7);
}

#[tokio::test]
async fn writes_have_numbers_of_their_own_reads_have_none_and_calls_may_ask_for_one() {
    for always in [false, true] {
        let settings = if always {
            builder().retry_writes()
        } else {
            builder()
        };
        let (client, _network, mut peer) = Network::with(settings).await;
        let _calls = (
            begun(client.set("a", "1")).await,
            begun(client.delete("b").idempotent()).await,
            begun(client.get("c")).await,
            begun(client.batch().set("d", "1").idempotent()).await,
            begun(client.touch("e", None)).await,
            // A value that is cut carries it on its first piece.
            begun(client.set("f", vec![1; 200_000]).idempotent()).await,
        );
        let mut names = Vec::new();
        for _ in 0..6 {
            let message = peer.next().await.unwrap().unwrap();
            names.push((message.opcode, name(&message)));
        }
        let asked: Vec<_> = names.iter().map(|(_, name)| name.is_some()).collect();
        assert_eq!(asked, [always, true, false, true, always, true]);
        let mut seen: Vec<_> = names.iter().filter_map(|(_, name)| *name).collect();
        assert!(seen.iter().all(|name| name.client == seen[0].client));
        seen.dedup_by_key(|name| name.operation);
        assert_eq!(seen.len(), asked.iter().filter(|&&asked| asked).count());
    }
}

/// What one attempt got, and what the caller of a write that was lost once is told.
async fn after_a_loss(code: ErrorCode) -> kv_client::Error {
    let (client, mut network, mut peer) = Network::with(builder().retry_writes()).await;
    let write = begun(client.incr("n", 1)).await;
    peer.next().await.unwrap().unwrap();
    drop(peer);
    let serving = async {
        let mut peer = network.accept().await;
        let again = peer.next_request().await.unwrap().unwrap();
        peer.ends().error(again.id, code, 0);
        peer.flush().await.unwrap();
        peer
    };
    let (write, _peer) = tokio::join!(write, serving);
    write.unwrap_err()
}

#[tokio::test]
async fn a_refused_repeat_says_nothing_about_the_first_attempt() {
    for (code, expected) in [
        (ErrorCode::PermissionDenied, Retry::OutcomeUnknown),
        (ErrorCode::DiskFull, Retry::OutcomeUnknown),
        // These are what the operation itself came to.
        (ErrorCode::Conflict, Retry::No),
        (ErrorCode::WrongType, Retry::No),
    ] {
        let error = after_a_loss(code).await;
        assert_eq!((error.code(), error.retry()), (Some(code), expected));
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_say_is_asked_again_until_the_time_is_over() {
    let timeout = Duration::from_secs(3);
    let settings = builder().retry_writes().request_timeout(timeout);
    let (client, _network, mut peer) = Network::with(settings).await;
    let begin = Instant::now();
    let mut attempts = Vec::new();
    let serving = async {
        loop {
            let request = peer.next_request().await.unwrap().unwrap();
            attempts.push(name(&request).unwrap());
            // The first one: not applied for lack of room, which is the caller's to repeat.
            let code = match attempts.len() {
                1 => ErrorCode::OutcomeUnknown,
                2 => ErrorCode::Overloaded,
                _ => ErrorCode::Internal,
            };
            peer.ends().error(request.id, code, 500);
            peer.flush().await.unwrap();
        }
    };
    let error = tokio::select! {
        done = client.incr("n", 1) => done.unwrap_err(),
        () = serving => panic!("it serves for ever"),
    };
    assert_eq!(error.retry(), Retry::OutcomeUnknown);
    assert!(begin.elapsed() <= timeout, "{:?}", begin.elapsed());
    assert_eq!(attempts.len(), 6, "one each 500 ms, as the server asked");
    attempts.dedup();
    assert_eq!(attempts.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_in_doubt_when_its_time_is_over_stays_unknown() {
    let settings = builder()
        .retry_writes()
        .request_timeout(Duration::from_secs(3));
    let (client, network, mut peer) = Network::with(settings).await;
    let write = begun(client.incr("n", 1)).await;
    peer.next().await.unwrap().unwrap();
    drop((peer, network));
    let error = write.await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Connect(_)), "{error:?}");
    assert_eq!(error.retry(), Retry::OutcomeUnknown);
    // One that never left is safe to make again.
    let error = client.incr("n", 1).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Safe);
}

#[tokio::test(start_paused = true)]
async fn the_oldest_number_under_way_holds_back_those_that_are_too_far_ahead() {
    let settings = builder().retry_writes().in_flight_max(4_000);
    let (client, _network, mut peer) = Network::with(settings).await;
    let oldest = begun(client.incr("n", 1)).await;
    let first = peer.next_request().await.unwrap().unwrap();
    let others = async {
        for _ in 0..999 {
            assert_eq!(client.incr("n", 1).await.unwrap(), 1);
        }
        // The thousand and first: it waits, and its own time is over.
        let late = client.incr("n", 1).timeout(Duration::from_secs(1)).await;
        let late = late.unwrap_err();
        assert_eq!((late.retry(), client.stats().in_flight), (Retry::Safe, 1));
    };
    let serving = async {
        loop {
            let request = peer.next_request().await.unwrap().unwrap();
            peer.ends().ok(request.id, 1, &1i64.to_be_bytes());
            peer.flush().await.unwrap();
        }
    };
    tokio::select! {
        () = others => {}
        () = serving => panic!("it serves for ever"),
    }
    let next = begun(client.incr("n", 1)).await;
    peer.ends().ok(first.id, 1, &1i64.to_be_bytes());
    peer.flush().await.unwrap();
    assert_eq!(oldest.await.unwrap(), 1);
    let serving = async {
        let request = peer.next_request().await.unwrap().unwrap();
        peer.ends().ok(request.id, 1, &2i64.to_be_bytes());
        peer.flush().await.unwrap();
        name(&request).unwrap().operation
    };
    let (done, number) = tokio::join!(next, serving);
    assert_eq!((done.unwrap(), number), (2, 1_001));
}
