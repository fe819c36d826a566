//! Servers of a few lines: just enough of each protocol, and a trick where one is wanted.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use kv_proto::{
    Batch, BatchWriter, Capabilities, Established, Flags, FrameHead, KeyLookup, Opcode, Secret,
    ServerHandshake, ServerRandom, ServerSettings, ServerStep, Suite, SuiteList, Transport,
    write_frame,
};

use crate::driver::Endpoint;
use crate::floor::Floor;

/// How a server is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trick {
    None,
    Backwards,
    Pieces,
    WrongValue,
    Missing,
    Refuse,
    Twice,
    BrokenTag,
    HangUp,
}

type Store = Arc<Mutex<HashMap<Vec<u8>, Vec<u8>>>>;

/// A server on a free port. Its threads end with their connections.
pub(super) struct Fake(SocketAddr);

impl Fake {
    fn start(
        serve: impl Fn(TcpStream, Store) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serve = Arc::new(serve);
        let store = Store::default();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (serve, store) = (Arc::clone(&serve), Arc::clone(&store));
                let stream = stream.unwrap();
                stream.set_nodelay(true).unwrap();
                std::thread::spawn(move || serve(stream, store));
            }
        });
        Self(address)
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        Endpoint {
            address: self.0,
            tls: None,
        }
    }

    pub(super) fn native(trick: Trick) -> Self {
        Self::start(move |stream, store| native(stream, &store, trick))
    }

    pub(super) fn resp() -> Self {
        Self::start(resp)
    }

    pub(super) fn memcached() -> Self {
        Self::start(memcached)
    }

    pub(super) fn floor() -> Self {
        let floor = Floor::bind(0).unwrap();
        let address = floor.address();
        std::thread::spawn(move || floor.serve());
        Self(address.into())
    }
}

struct OneKey;

impl KeyLookup for OneKey {
    fn find(&self, key_id: Option<&str>) -> (Secret, bool) {
        match key_id {
            None => (Secret::absent(), true),
            Some(_) => (Secret::new(&super::KEY), true),
        }
    }
}

fn settings() -> ServerSettings {
    ServerSettings {
        suites: SuiteList::new(&Suite::ALL),
        capabilities: Capabilities::NONE,
        limits: Default::default(),
        software: "fake".into(),
        version_1: None,
    }
}

fn native(mut stream: TcpStream, store: &Store, trick: Trick) -> std::io::Result<()> {
    let settings = settings();
    let random = ServerRandom {
        nonce: [1; 32],
        session_id: [2; 16],
        x25519: [3; 32],
    };
    let mut handshake = ServerHandshake::new(&settings, Transport::Plain, random);
    let mut session: Option<Box<Established>> = None;
    let (mut input, mut buffer) = (Vec::new(), vec![0; 65_536]);
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        input.extend_from_slice(&buffer[..count]);
        let mut rest = input.as_mut_slice();
        let mut out = Vec::new();
        while session.is_none() {
            match handshake.recv(&mut rest, &mut out, &OneKey) {
                Ok(ServerStep::NeedMore) => break,
                Ok(ServerStep::Established(mut established)) => {
                    let head = FrameHead::new(Opcode::Ready, 0);
                    let start = write_frame(&mut out, head, &[], &[], &[]);
                    established.sealer.seal(&mut out, start);
                    session = Some(established);
                }
                Ok(_) => {}
                Err(_) => return Ok(()),
            }
        }
        if let Some(session) = &mut session
            && !requests(session, &mut rest, &mut out, store, trick)
        {
            return Ok(());
        }
        let left = rest.len();
        input.drain(..input.len() - left);
        stream.write_all(&out)?;
    }
}

type Reply = (u32, Opcode, Vec<u8>);

/// Answers what came; false to hang up.
fn requests(
    session: &mut Established,
    input: &mut &mut [u8],
    out: &mut Vec<u8>,
    store: &Store,
    trick: Trick,
) -> bool {
    let mut replies: Vec<Reply> = Vec::new();
    while let Ok(Some(frame)) = session.opener.next(input) {
        let id = frame.request_id();
        if id == 0 {
            continue;
        }
        let opcode = Opcode::try_from(frame.opcode()).unwrap();
        if opcode == Opcode::Batch {
            let mut body = Vec::new();
            let mut writer = BatchWriter::replies(&mut body);
            for item in Batch::requests(frame.value()).unwrap().iter() {
                let opcode = Opcode::try_from(item.opcode).unwrap();
                let (opcode, value) = answer(opcode, item.key, item.value, store, trick);
                writer.item(opcode, &[], &[], &value).unwrap();
            }
            replies.push((id, Opcode::Ok, body));
        } else {
            let (opcode, value) = answer(opcode, frame.key(), frame.value(), store, trick);
            replies.push((id, opcode, value));
        }
    }
    if trick == Trick::Backwards {
        replies.reverse();
    }
    let full = store.lock().unwrap().len() == 500;
    for (id, opcode, value) in replies {
        if full && trick == Trick::HangUp {
            return false;
        }
        let pieces: Vec<&[u8]> = if trick == Trick::Pieces && !value.is_empty() {
            value.chunks(7_000).collect()
        } else {
            vec![&value]
        };
        let times = if full && trick == Trick::Twice { 2 } else { 1 };
        for _ in 0..times {
            for (nth, piece) in pieces.iter().enumerate() {
                let mut head = FrameHead::new(opcode, id);
                if nth + 1 < pieces.len() {
                    head.flags = Flags::MORE;
                }
                let start = write_frame(out, head, &[], &[], piece);
                session.sealer.seal(out, start);
            }
        }
        if full && trick == Trick::BrokenTag {
            *out.last_mut().unwrap() ^= 1;
        }
    }
    true
}

fn answer(
    opcode: Opcode,
    key: &[u8],
    value: &[u8],
    store: &Store,
    trick: Trick,
) -> (Opcode, Vec<u8>) {
    let mut store = store.lock().unwrap();
    if opcode == Opcode::Set {
        store.insert(key.to_vec(), value.to_vec());
        return (Opcode::Ok, Vec::new());
    }
    match (trick, store.get(key)) {
        (Trick::Missing, _) | (_, None) => (Opcode::NotFound, Vec::new()),
        (Trick::Refuse, _) => (Opcode::Err, vec![0, 64, 0, 0, 0, 0]),
        (Trick::WrongValue, Some(value)) => {
            let mut value = value.clone();
            *value.last_mut().unwrap() ^= 1;
            (Opcode::Ok, value)
        }
        (_, Some(value)) => (Opcode::Ok, value.clone()),
    }
}

/// One line without its end; `None` at the end of the stream.
fn read_line(input: &mut BufReader<TcpStream>) -> std::io::Result<Option<String>> {
    let mut line = String::new();
    let count = input.read_line(&mut line)?;
    Ok((count > 0).then(|| line.trim_end().to_owned()))
}

fn read_value(input: &mut BufReader<TcpStream>, len: usize) -> std::io::Result<Vec<u8>> {
    let mut value = vec![0; len + 2];
    input.read_exact(&mut value)?;
    value.truncate(len);
    Ok(value)
}

fn resp(stream: TcpStream, store: Store) -> std::io::Result<()> {
    let mut out = stream.try_clone()?;
    let mut input = BufReader::new(stream);
    while let Some(count) = read_line(&mut input)? {
        let count: usize = count.strip_prefix('*').unwrap().parse().unwrap();
        let mut words = Vec::new();
        for _ in 0..count {
            let len = read_line(&mut input)?.unwrap();
            let len = len.strip_prefix('$').unwrap().parse().unwrap();
            words.push(read_value(&mut input, len)?);
        }
        let reply = match words.as_slice() {
            [ping] if ping == b"PING" => b"+PONG\r\n".to_vec(),
            [get, key] if get == b"GET" => match store.lock().unwrap().get(key) {
                None => b"$-1\r\n".to_vec(),
                Some(value) => {
                    let head = format!("${}\r\n", value.len());
                    [head.as_bytes(), value, b"\r\n"].concat()
                }
            },
            [set, key, value] if set == b"SET" => {
                store.lock().unwrap().insert(key.clone(), value.clone());
                b"+OK\r\n".to_vec()
            }
            _ => b"-ERR unknown command\r\n".to_vec(),
        };
        out.write_all(&reply)?;
    }
    Ok(())
}

fn memcached(stream: TcpStream, store: Store) -> std::io::Result<()> {
    let mut out = stream.try_clone()?;
    let mut input = BufReader::new(stream);
    while let Some(line) = read_line(&mut input)? {
        let words: Vec<&str> = line.split(' ').collect();
        let reply = match words.as_slice() {
            ["version"] => b"VERSION 1.6.0\r\n".to_vec(),
            ["mg", key, "v", "k"] => match store.lock().unwrap().get(key.as_bytes()) {
                None => b"EN\r\n".to_vec(),
                Some(value) => {
                    let head = format!("VA {} k{key}\r\n", value.len());
                    [head.as_bytes(), value, b"\r\n"].concat()
                }
            },
            ["set", key, "0", "0", len] => {
                let value = read_value(&mut input, len.parse().unwrap())?;
                store.lock().unwrap().insert(key.as_bytes().to_vec(), value);
                b"STORED\r\n".to_vec()
            }
            _ => b"ERROR\r\n".to_vec(),
        };
        out.write_all(&reply)?;
    }
    Ok(())
}
