//! What a peer declares allocates nothing: every length field of the protocol says 4 GiB here.
//!
//! A binary of its own with one test, because the counters of the allocator are those of the whole
//! process.

use std::alloc::System;

use kv_proto::typed::{Reader, Value};
use kv_proto::{
    Assembler, AssemblerLimits, Batch, Capabilities, Flags, Fragment, Header, KeyLookup, Opcode,
    OpcodeByte, Opener, PREFIX_LEN, Secret, ServerHandshake, ServerRandom, ServerSettings, Suite,
    SuiteList, Transport, VERSION_1, VERSION_2, decompress, limits::SessionLimits,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static GLOBAL: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const ALLOWED: usize = 64 * 1024;

/// Bytes that `work` allocated, those it gave back included.
fn allocated(work: impl FnOnce()) -> usize {
    let region = Region::new(GLOBAL);
    work();
    // Growing in place counts as well.
    region.change().bytes_allocated
}

#[track_caller]
fn allocates_little(what: &str, work: impl FnOnce()) {
    let bytes = allocated(work);
    assert!(bytes <= ALLOWED, "{what} allocated {bytes} bytes");
}

fn header(version: u8, opcode: Opcode) -> Header {
    Header {
        version,
        opcode: opcode.into(),
        request_id: if opcode == Opcode::Hello { 0 } else { 1 },
        flags: Flags::NONE,
        ext_len: 0,
        key_len: 0,
        value_len: u32::MAX,
    }
}

fn frame(header: &Header) -> Vec<u8> {
    let mut frame = header.to_bytes().to_vec();
    frame.resize(PREFIX_LEN + 100, 0);
    frame
}

struct NoKey;

impl KeyLookup for NoKey {
    fn find(&self, _: Option<&str>) -> (Secret, bool) {
        (Secret::absent(), false)
    }
}

fn a_frame_of_4_gib() {
    let mut input = frame(&header(VERSION_1, Opcode::Set));
    let mut opener = Opener::version_1_server(&[7; 32], u32::MAX);
    allocates_little("an incomplete frame", || {
        assert!(matches!(opener.next(&mut input.as_mut_slice()), Ok(None)));
    });
    let mut opener = Opener::version_1_server(&[7; 32], 1024 * 1024);
    allocates_little("a frame beyond the limit", || {
        assert!(opener.next(&mut input.as_mut_slice()).is_err());
        assert_eq!(opener.wanted(&input), None);
    });
}

fn a_hello_of_4_gib() {
    let settings = ServerSettings {
        suites: SuiteList::new(&Suite::ALL),
        capabilities: Capabilities::NONE,
        limits: SessionLimits::default(),
        software: "test".into(),
        version_1: None,
    };
    let random = ServerRandom {
        nonce: [1; 32],
        session_id: [2; 16],
        x25519: [3; 32],
    };
    let mut server = ServerHandshake::new(&settings, Transport::Plain, random);
    let mut input = frame(&header(VERSION_2, Opcode::Hello));
    let mut out = Vec::new();
    allocates_little("HELLO", || {
        assert!(
            server
                .recv(&mut input.as_mut_slice(), &mut out, &NoKey)
                .is_err()
        );
    });
}

fn a_continued_message_of_4_gib() {
    let piece = vec![0; 16 * 1024];
    let fragment = Fragment {
        request_id: 1,
        opcode: OpcodeByte(2),
        flags: Flags::NONE,
        more: true,
        total_len: Some(u32::MAX),
        ext: &[],
        key: b"key",
        value: &piece,
    };
    let unlimited = AssemblerLimits {
        message_bytes_max: usize::MAX,
        retained_bytes_max: usize::MAX,
        ..AssemblerLimits::default()
    };
    for limits in [unlimited, AssemblerLimits::default()] {
        let mut assembler = Assembler::new(limits);
        allocates_little("a first piece", || {
            let _ = assembler.accept(0, &fragment);
            assert_eq!(assembler.len(), 1);
        });
    }
}

fn a_compressed_value_of_4_gib() {
    let value = [&u32::MAX.to_be_bytes()[..], &[0; 64]].concat();
    allocates_little("a compressed value", || {
        assert!(decompress(&value, usize::MAX).is_err());
        assert!(decompress(&value, 16 * 1024 * 1024).is_err());
    });
}

fn typed_values_of_4_gib() {
    for marker in [0xc6, 0xdb, 0xdd, 0xdf] {
        let mut bytes = vec![marker, 255, 255, 255, 255];
        bytes.resize(1_000, 0xc0);
        allocates_little("a typed value", || assert!(Value::decode(&bytes).is_err()));
        // And below as many levels as there may be.
        let nested = [vec![0x91; 31], bytes].concat();
        allocates_little("a nested typed value", || {
            assert!(Value::decode(&nested).is_err())
        });
    }
    let list = [&[0xdc, 0x03, 0xe8][..], &[0xc0; 1_000]].concat();
    let bytes = allocated(|| {
        let mut reader = Reader::new(&list);
        while reader.next_event().is_ok_and(|event| event.is_some()) {}
    });
    assert_eq!(bytes, 0, "the reader allocates nothing at all");
}

fn a_batch_item_of_4_gib() {
    let inner = Header {
        request_id: 0,
        ..header(VERSION_2, Opcode::Set)
    };
    let value = frame(&inner);
    allocates_little("a batch", || assert!(Batch::requests(&value).is_err()));
}

/// A message that is received whole costs its own length and what growing by doubling costs.
fn an_honest_message() {
    const LEN: usize = 1024 * 1024;
    const TOTAL_LEN: u32 = 1024 * 1024;
    let piece = vec![0; 64 * 1024];
    let mut assembler = Assembler::new(AssemblerLimits::default());
    let bytes = allocated(|| {
        for at in (0..LEN).step_by(piece.len()) {
            let first = at == 0;
            let fragment = Fragment {
                request_id: 1,
                opcode: OpcodeByte(2),
                flags: Flags::NONE,
                more: at + piece.len() < LEN,
                total_len: first.then_some(TOTAL_LEN),
                ext: &[],
                key: if first { b"key" } else { b"" },
                value: &piece,
            };
            assert!(assembler.accept(0, &fragment).is_ok());
        }
    });
    assert!(
        (LEN..LEN + 4 * 1024).contains(&bytes),
        "{bytes} bytes for a message of {LEN}"
    );
}

#[test]
fn declared_lengths_allocate_nothing() {
    // The canary: the counters do see an allocation.
    assert!(allocated(|| drop(vec![1_u8; 2 * ALLOWED])) >= 2 * ALLOWED);

    a_frame_of_4_gib();
    a_hello_of_4_gib();
    a_continued_message_of_4_gib();
    a_compressed_value_of_4_gib();
    typed_values_of_4_gib();
    a_batch_item_of_4_gib();
    an_honest_message();
}
