//! Headers, and version 1 frames.

use kv_proto::{
    CloseReason, DecodeKind, DirectionKeys, FrameHead, HEADER_LEN, Header, Key, KeyLookup, MacKey,
    Opcode, OpcodeByte, Opener, ProtocolViolation, Sealer, Secret, ServerHandshake, ServerRandom,
    ServerSettings, Suite, SuiteList, Transport, write_frame,
};

use crate::vector::{Outcome, Vector, good, same, same_bytes};

struct NoKeys;

impl KeyLookup for NoKeys {
    fn find(&self, _: Option<&str>) -> (Secret, bool) {
        (Secret::absent(), false)
    }
}

/// What a receiver of either version says to a header, as far as the header alone decides.
pub(crate) fn header(vector: &Vector) -> Outcome {
    let bytes = vector.bytes("header");
    let Some(raw) = bytes.first_chunk::<HEADER_LEN>() else {
        return short(vector, bytes);
    };
    let result = judge(raw);
    let Some(header) = good(vector, result, class)? else {
        return Ok(());
    };
    same("version", header.version, vector.number("version"))?;
    same("opcode", header.opcode, OpcodeByte(vector.number("opcode")))?;
    same("request id", header.request_id, vector.number("request_id"))?;
    same("flags", header.flags.0, vector.number("flags"))?;
    same("ext_len", header.ext_len, vector.number("ext_len"))?;
    same("key_len", header.key_len, vector.number("key_len"))?;
    same("value_len", header.value_len, vector.number("value_len"))?;
    same_bytes("encoded again", &header.to_bytes(), raw)
}

fn short(vector: &Vector, mut bytes: Vec<u8>) -> Outcome {
    let mut opener = Opener::version_1_server(&[0; 32], 1024);
    let result = opener.next(&mut bytes.as_mut_slice());
    match (&result, vector.error()) {
        (Ok(None), Some("incomplete")) | (Err(CloseReason::NotThisProtocol), Some("magic")) => {
            Ok(())
        }
        _ => Err(format!("{result:?}")),
    }
}

fn judge(raw: &[u8; HEADER_LEN]) -> Result<Header, CloseReason> {
    let header = Header::parse(raw)?;
    let settings = ServerSettings {
        suites: SuiteList::new(&Suite::ALL),
        capabilities: kv_proto::Capabilities::NONE,
        limits: kv_proto::limits::SessionLimits::default(),
        software: "".into(),
        version_1: Some(Secret::new(&[1; 32])),
    };
    let random = ServerRandom {
        nonce: [0; 32],
        session_id: [0; 16],
        x25519: [0; 32],
    };
    let mut server = ServerHandshake::new(&settings, Transport::Plain, random);
    let first = server.recv(&mut raw.to_vec().as_mut_slice(), &mut Vec::new(), &NoKeys);
    if let Err(error @ CloseReason::UnsupportedVersion(_)) = first {
        return Err(error);
    }
    // The reserved bits are judged behind the tag: give the frame a right one. Its body is left out
    // where it is large, since it is the header that is in question.
    let mut small = header;
    (small.ext_len, small.key_len, small.value_len) = (header.ext_len.min(1), 0, 0);
    let mut frame = small.to_bytes().to_vec();
    let body = vec![0; usize::from(small.ext_len)];
    let (mut opener, tag) = if header.version == 1 {
        let tag = MacKey::new(&[1; 32]).tag(&[&frame, &body]);
        (Opener::version_1_client(&[1; 32], 1024), tag)
    } else {
        let suite = if header.flags.0 & 2 == 0 {
            Suite::Hmac
        } else {
            Suite::Encrypted
        };
        let tag = MacKey::new(&[2; 32]).tag(&[&[0; 8], &frame, &body]);
        (Opener::version_2(suite, keys(&[2; 32]), 1024), tag)
    };
    frame.extend_from_slice(&tag.to_bytes());
    frame.extend_from_slice(&body);
    opener.next(&mut frame.as_mut_slice())?;
    Ok(header)
}

fn keys(mac: &[u8; 32]) -> DirectionKeys {
    DirectionKeys {
        mac: Key::new(*mac),
        cipher: Key::new([0; 32]),
        iv: [0; 12],
    }
}

fn class(error: &CloseReason) -> &'static str {
    match error {
        CloseReason::NotThisProtocol => "magic",
        CloseReason::UnsupportedVersion(_) => "version",
        CloseReason::Violation(ProtocolViolation::ReservedFlags) => "reserved",
        CloseReason::Malformed(e) if e.kind == DecodeKind::Reserved => "reserved",
        CloseReason::Auth(_) => "auth",
        _ => "another",
    }
}

/// A version 1 frame, opened and made again.
pub(crate) fn version_1(vector: &Vector) -> Outcome {
    let secret = vector.bytes("secret");
    let wire = vector.bytes("frame");
    // A flipped length may ask for more bytes than the frame has: others follow on the connection.
    let mut input = [wire.as_slice(), &[0; 512]].concat();
    let mut opener = Opener::version_1_client(&secret, 1 << 20);
    let result = match opener.next(&mut input.as_mut_slice()) {
        Ok(Some(frame)) => Ok((
            frame.opcode(),
            frame.request_id(),
            frame.key().to_vec(),
            frame.value().to_vec(),
        )),
        Ok(None) => return Err("not complete".into()),
        Err(error) => Err(error),
    };
    let Some((opcode, request_id, key, value)) = good(vector, result, class)? else {
        return Ok(());
    };
    same("opcode", opcode, OpcodeByte(vector.number("opcode")))?;
    same("request id", request_id, vector.number("request_id"))?;
    same_bytes("key", &key, &vector.bytes("key"))?;
    same_bytes("value", &value, &vector.bytes("value"))?;
    let mut out = Vec::new();
    let opcode = Opcode::try_from(opcode).map_err(|e| e.to_string())?;
    let start = write_frame(
        &mut out,
        FrameHead::new(opcode, request_id),
        &[],
        &key,
        &value,
    );
    Sealer::version_1(&secret).seal(&mut out, start);
    same_bytes("frame", &out, &wire)
}
