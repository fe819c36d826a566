//! Whole handshakes in both roles, and the fields of HELLO and WELCOME alone.

use kv_proto::{
    Capabilities, ClientHandshake, ClientHello, ClientRandom, ClientSettings, ClientStep,
    CloseReason, FrameHead, KeyLookup, MacKey, Opcode, Schedule, Secret, ServerHandshake,
    ServerRandom, ServerSettings, ServerStep, Suite, SuiteList, Transport, transcript_hash, typed,
    write_frame,
};

use crate::vector::{Outcome, Vector, good, same, same_bytes};

struct OneKey {
    id: Option<String>,
    secret: Secret,
}

impl KeyLookup for OneKey {
    fn find(&self, key_id: Option<&str>) -> (Secret, bool) {
        (self.secret.clone(), key_id == self.id.as_deref())
    }
}

fn transport(vector: &Vector) -> Transport {
    if vector.has("exporter") {
        Transport::Tls(vector.array("exporter"))
    } else {
        Transport::Plain
    }
}

fn suite(vector: &Vector) -> Suite {
    Suite::from_number(vector.number("suite")).unwrap()
}

/// The derived keys of a vector, for the sessions that go on from it.
pub(crate) fn schedule(vector: &Vector) -> Schedule {
    let shared = if vector.has("x25519_shared") {
        vector.array("x25519_shared")
    } else {
        [0; 32]
    };
    let psk = Secret::new(&vector.bytes("psk"));
    Schedule::new(
        &psk,
        &shared,
        &transport(vector),
        suite(vector),
        vector.array("transcript_hash"),
    )
}

pub(crate) fn handshake(vector: &Vector) -> Outcome {
    if let Some(error) = vector.error() {
        return Err(format!("a handshake that must work says {error}"));
    }
    keys(vector)?;
    server(vector)?;
    client(vector)
}

fn keys(vector: &Vector) -> Outcome {
    let mut welcome = vector.bytes("welcome");
    welcome[16..48].fill(0);
    let hash = transcript_hash(&vector.bytes("hello"), &welcome, &transport(vector));
    same_bytes("transcript hash", &hash, &vector.bytes("transcript_hash"))?;
    if suite(vector) == Suite::Checksum {
        return Ok(());
    }
    let schedule = schedule(vector);
    let (c2s, s2c) = (schedule.client_to_server(), schedule.server_to_client());
    for (field, ours) in [
        ("s_conf", schedule.server_confirm().to_vec()),
        ("c_conf", schedule.client_confirm().to_vec()),
        ("c2s_mac", c2s.mac.to_vec()),
        ("s2c_mac", s2c.mac.to_vec()),
        ("c2s_key", c2s.cipher.to_vec()),
        ("s2c_key", s2c.cipher.to_vec()),
        ("c2s_iv", c2s.iv.to_vec()),
        ("s2c_iv", s2c.iv.to_vec()),
    ] {
        same_bytes(field, &ours, &vector.bytes(field))?;
    }
    let tag = MacKey::new(schedule.server_confirm().as_slice()).tag(&[b"kv/2 server", &hash]);
    same_bytes(
        "WELCOME's tag",
        &tag.to_bytes(),
        &vector.bytes("welcome_tag"),
    )
}

fn server(vector: &Vector) -> Outcome {
    let settings = ServerSettings {
        suites: SuiteList::new(&[suite(vector)]),
        capabilities: Capabilities::LZ4,
        limits: kv_proto::limits::SessionLimits::default(),
        software: "kv-server/0.1.0".into(),
        version_1: None,
    };
    let keys = OneKey {
        id: vector
            .has("key_id")
            .then(|| vector.text("key_id").to_owned()),
        secret: Secret::new(&vector.bytes("psk")),
    };
    let random = ServerRandom {
        nonce: vector.array("server_nonce"),
        session_id: vector.array("session_id"),
        x25519: if vector.has("server_x25519_secret") {
            vector.array("server_x25519_secret")
        } else {
            [9; 32]
        },
    };
    let mut server = ServerHandshake::new(&settings, transport(vector), random);
    let mut out = Vec::new();
    match server.recv(&mut vector.bytes("hello").as_mut_slice(), &mut out, &keys) {
        Ok(ServerStep::Progress) => same_bytes("WELCOME", &out, &vector.bytes("welcome"))?,
        Ok(_) => return Err("HELLO was not taken".into()),
        Err(error) => return Err(format!("HELLO: {error}")),
    }
    let mut session = match server.recv(&mut vector.bytes("auth").as_mut_slice(), &mut out, &keys) {
        Ok(ServerStep::Established(session)) => session,
        Ok(_) => return Err("AUTH was not taken".into()),
        Err(error) => return Err(format!("AUTH: {error}")),
    };
    same(
        "key id",
        session.key_id.as_deref().map(str::to_owned),
        keys.id,
    )?;
    let permissions = vector.0["permissions"].as_array().unwrap();
    let permissions = permissions
        .iter()
        .map(|p| typed::Value::Str(p.as_str().unwrap().into()));
    let granted = typed::Value::Map(vec![
        (
            typed::Value::Str("identity".into()),
            typed::Value::Str(vector.text("identity").into()),
        ),
        (
            typed::Value::Str("permissions".into()),
            typed::Value::Array(permissions.collect()),
        ),
    ]);
    let mut value = Vec::new();
    granted.encode(&mut value).map_err(|e| e.to_string())?;
    same_bytes("READY's value", &value, &vector.bytes("ready_value"))?;
    let mut ready = Vec::new();
    let start = write_frame(
        &mut ready,
        FrameHead::new(Opcode::Ready, 0),
        &[],
        &[],
        &value,
    );
    session.sealer.seal(&mut ready, start);
    same_bytes("READY", &ready, &vector.bytes("ready"))
}

fn client(vector: &Vector) -> Outcome {
    let hello = ClientHello::decode(&vector.bytes("hello")[48..]).map_err(|e| e.to_string())?;
    let random = || ClientRandom {
        nonce: vector.array("client_nonce"),
        x25519: if vector.has("client_x25519_secret") {
            vector.array("client_x25519_secret")
        } else {
            [9; 32]
        },
    };
    let suites: Vec<_> = hello
        .suites
        .iter()
        .filter_map(|&n| Suite::from_number(n))
        .collect();
    let settings = ClientSettings {
        suites: SuiteList::new(&suites),
        capabilities: Capabilities::LZ4.common(hello.capabilities),
        key: vector.has("key_id").then(|| {
            (
                vector.text("key_id").into(),
                Secret::new(&vector.bytes("psk")),
            )
        }),
        server_name: hello.server_name.clone(),
        software: hello.software.clone(),
    };
    let mut out = Vec::new();
    let mut client = ClientHandshake::start(settings, transport(vector), random(), &mut out);
    if hello.suites.len() != suites.len() {
        // A HELLO of a later client, which this one cannot make.
        return Ok(());
    }
    same_bytes("HELLO", &out, &vector.bytes("hello"))?;
    out.clear();
    let mut session = match client.recv(&mut vector.bytes("welcome").as_mut_slice(), &mut out) {
        Ok(ClientStep::Established(session)) => session,
        Ok(_) => return Err("WELCOME was not taken".into()),
        Err(error) => return Err(format!("WELCOME: {error}")),
    };
    same_bytes("AUTH", &out, &vector.bytes("auth"))?;
    let mut ready = vector.bytes("ready");
    let mut input = ready.as_mut_slice();
    let frame = session
        .opener
        .next(&mut input)
        .map_err(|e| e.to_string())?
        .ok_or("READY is not complete")?;
    same("opcode", frame.opcode(), Opcode::Ready.into())?;
    same_bytes("READY's value", frame.value(), &vector.bytes("ready_value"))
}

pub(crate) fn fields(vector: &Vector) -> Outcome {
    let value = vector.bytes("value");
    if vector.text("role") == "welcome" {
        return welcome_fields(vector, &value);
    }
    let Some(hello) = good(vector, ClientHello::decode(&value), |_| "malformed")? else {
        return Ok(());
    };
    let suites: Vec<u8> = vector.0["suites"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| u8::try_from(s.as_u64().unwrap()).unwrap())
        .collect();
    same(
        "versions",
        hello.versions,
        (vector.number("version_min"), vector.number("version_max")),
    )?;
    same("suites", &hello.suites, &suites)?;
    same(
        "capabilities",
        hello.capabilities.0,
        vector.number("capabilities"),
    )?;
    let key_id = vector.has("key_id").then(|| vector.text("key_id"));
    same("key id", hello.key_id.as_deref(), key_id)?;
    same_bytes("nonce", &hello.nonce, &vector.bytes("nonce"))?;
    same(
        "server name",
        &*hello.server_name,
        vector.text("server_name"),
    )?;
    same("software", &*hello.software, vector.text("software"))?;
    same(
        "share",
        hello.share.map(|s| s.to_vec()),
        vector.maybe("share"),
    )
}

/// WELCOME alone, at a client that offers everything. It has no right tag, so a well-formed one gets as
/// far as the tag.
fn welcome_fields(vector: &Vector, value: &[u8]) -> Outcome {
    let settings = ClientSettings {
        suites: SuiteList::new(&[Suite::Encrypted, Suite::Hmac]),
        capabilities: Capabilities(u32::MAX),
        key: Some(("dev".into(), Secret::new(&[1; 32]))),
        server_name: "".into(),
        software: "".into(),
    };
    let random = ClientRandom {
        nonce: [1; 32],
        x25519: [2; 32],
    };
    let mut client = ClientHandshake::start(settings, Transport::Plain, random, &mut Vec::new());
    let mut frame = Vec::new();
    write_frame(
        &mut frame,
        FrameHead::new(Opcode::Welcome, 0),
        &[],
        &[],
        value,
    );
    let result = match client.recv(&mut frame.as_mut_slice(), &mut Vec::new()) {
        Err(CloseReason::Auth(_)) => Ok(()),
        Err(error) => Err(error),
        Ok(_) => return Err("a WELCOME without a tag was taken".into()),
    };
    let class = |error: &CloseReason| match error {
        CloseReason::Malformed(_) | CloseReason::NoCommonSuite => "malformed",
        _ => "another",
    };
    good(vector, result, class).map(|_| ())
}
