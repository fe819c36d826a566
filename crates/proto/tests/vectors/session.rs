//! Sealed frames: each bad one alone, and every session from its first frame on.

use kv_proto::{
    CloseReason, DirectionKeys, Flags, FrameHead, Key, Opcode, OpcodeByte, Opener,
    ProtocolViolation, Sealer, Suite, write_frame,
};

use crate::handshake::schedule;
use crate::vector::{Outcome, Vector, good, same, same_bytes};

fn keys(vector: &Vector) -> DirectionKeys {
    let key = |field| {
        Key::new(if vector.has(field) {
            vector.array(field)
        } else {
            [0; 32]
        })
    };
    let iv = if vector.has("iv") {
        vector.array("iv")
    } else {
        [0; 12]
    };
    DirectionKeys {
        mac: key("mac_key"),
        cipher: key("cipher_key"),
        iv,
    }
}

/// A frame on its own, under the keys and at the place in the sequence that the vector names.
pub(crate) fn single_frame(vector: &Vector) -> Outcome {
    let suite = Suite::from_number(vector.number("suite")).unwrap();
    let mut opener = Opener::version_2(suite, keys(vector), 1 << 20);
    let mut sealer = Sealer::version_2(suite, keys(vector));
    for _ in 0..vector.number::<u64>("seq") {
        let mut frame = Vec::new();
        let start = write_frame(
            &mut frame,
            FrameHead::new(Opcode::Goodbye, 0),
            &[],
            &[],
            &[],
        );
        sealer.seal(&mut frame, start);
        opener
            .next(&mut frame.as_mut_slice())
            .map_err(|e| e.to_string())?;
    }
    // A flipped length may ask for more bytes than the frame has: others follow on the connection.
    let mut input = [vector.bytes("frame").as_slice(), &[0; 512]].concat();
    let result = match opener.next(&mut input.as_mut_slice()) {
        Ok(Some(frame)) => Ok([frame.ext(), frame.key(), frame.value()].map(<[u8]>::to_vec)),
        Ok(None) => return Err("not complete".into()),
        // The epoch in the frame is judged in the replay of the whole session.
        Err(CloseReason::Violation(ProtocolViolation::KeyUpdate)) if vector.error().is_none() => {
            return Ok(());
        }
        Err(error) => Err(error),
    };
    let class = |error: &CloseReason| match error {
        CloseReason::Auth(_) => "auth",
        CloseReason::Violation(ProtocolViolation::EncryptedFlag) => "encrypted_flag",
        _ => "another",
    };
    let Some([ext, key, value]) = good(vector, result, class)? else {
        return Ok(());
    };
    parts(vector, &ext, &key, &value)
}

fn parts(vector: &Vector, ext: &[u8], key: &[u8], value: &[u8]) -> Outcome {
    same_bytes("extension block", ext, &vector.bytes("ext"))?;
    same_bytes("key", key, &vector.bytes("key"))?;
    same_bytes("value", value, &vector.bytes("value"))
}

/// Every session's directions from sequence number 0, with one sealer and one opener each, through
/// every KEY_UPDATE.
pub(crate) fn replay(frames: &[Vector], handshakes: &[Vector]) {
    let mut replayed = 0;
    let mut updates = 0;
    for handshake in handshakes {
        for direction in ["c2s", "s2c"] {
            let of_this = |v: &&Vector| {
                v.error().is_none()
                    && v.text("session") == handshake.name()
                    && v.text("direction") == direction
            };
            let chain: Vec<_> = frames.iter().filter(of_this).collect();
            if !chain.is_empty() {
                updates += replay_direction(handshake, direction, &chain)
                    .unwrap_or_else(|why| panic!("{}, {direction}: {why}", handshake.name()));
                replayed += 1;
            }
        }
    }
    assert_eq!(replayed, 8, "four sessions, two directions each");
    assert_eq!(updates, 12, "two updates per direction, none in suite 0");
}

fn replay_direction(handshake: &Vector, direction: &str, chain: &[&Vector]) -> Result<u32, String> {
    let suite = Suite::from_number(handshake.number("suite")).unwrap();
    let schedule = schedule(handshake);
    let keys = || {
        if direction == "c2s" {
            schedule.client_to_server()
        } else {
            schedule.server_to_client()
        }
    };
    let mut sealer = Sealer::version_2(suite, keys());
    let mut opener = Opener::version_2(suite, keys(), 1 << 20);
    // Sequence number 0 is AUTH or READY.
    let mut first = handshake.bytes(if direction == "c2s" { "auth" } else { "ready" });
    opener
        .next(&mut first.as_mut_slice())
        .map_err(|e| e.to_string())?
        .ok_or("not complete")?;
    let mut made = Vec::new();
    let (opcode, value) = if direction == "c2s" {
        (Opcode::Auth, "auth_value")
    } else {
        (Opcode::Ready, "ready_value")
    };
    write_frame(
        &mut made,
        FrameHead::new(opcode, 0),
        &[],
        &[],
        &handshake.bytes(value),
    );
    sealer.seal(&mut made, 0);

    let mut updates = 0;
    for vector in chain {
        same("sequence number", sealer.sequence(), vector.number("seq"))?;
        let opcode =
            Opcode::try_from(OpcodeByte(vector.number("opcode"))).map_err(|e| e.to_string())?;
        let mut sealed = Vec::new();
        if matches!(opcode, Opcode::KeyUpdate | Opcode::ServerKeyUpdate) {
            sealer
                .update_keys(&mut sealed, opcode)
                .map_err(|e| e.to_string())?;
            updates += 1;
        } else {
            let head = FrameHead {
                opcode,
                request_id: vector.number("request_id"),
                flags: Flags::NONE,
            };
            let (ext, key, value) = (
                vector.bytes("ext"),
                vector.bytes("key"),
                vector.bytes("value"),
            );
            let start = write_frame(&mut sealed, head, &ext, &key, &value);
            sealer.seal(&mut sealed, start);
        }
        same_bytes(vector.name(), &sealed, &vector.bytes("frame"))?;
        let mut input = sealed.as_mut_slice();
        let frame = opener
            .next(&mut input)
            .map_err(|e| e.to_string())?
            .ok_or("not complete")?;
        same("flags", frame.flags().0, vector.number("flags"))?;
        parts(vector, frame.ext(), frame.key(), frame.value())?;
    }
    Ok(updates)
}
