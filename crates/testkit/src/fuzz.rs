//! The functions that are fuzzed: bytes in, a panic when something that must hold does not.
//!
//! Each target stands in [`ALL`] once. `crates/fuzz` hands the same functions to libFuzzer, and
//! `tests/corpus.rs` runs them over the committed seeds in every ordinary test run. A target is
//! deterministic and needs no file, socket, clock or random source.

mod assembler_ops;
mod batch;
mod canary;
mod decompress;
mod frame_stream;
mod handshake;
mod header;
mod input;
mod session;
mod typed;
mod wire;

/// One function under its name.
#[derive(Clone, Copy)]
pub struct Target {
    name: &'static str,
    run: fn(&[u8]),
}

impl Target {
    /// The name of its entry point and of its corpus.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Runs it over one input.
    pub fn run(&self, data: &[u8]) {
        (self.run)(data);
    }
}

/// Header and extension block.
pub const HEADER: Target = Target {
    name: "header",
    run: header::run,
};
/// A stream of frames, cut in any way.
pub const FRAME_STREAM: Target = Target {
    name: "frame_stream",
    run: frame_stream::run,
};
/// The assembler against a model.
pub const ASSEMBLER_OPS: Target = Target {
    name: "assembler_ops",
    run: assembler_ops::run,
};
/// The server's handshake against a client without the key.
pub const HANDSHAKE_SERVER: Target = Target {
    name: "handshake_server",
    run: handshake::server_role,
};
/// The client's handshake against a server without the key.
pub const HANDSHAKE_CLIENT: Target = Target {
    name: "handshake_client",
    run: handshake::client_role,
};
/// A session with an attacker in the middle.
pub const SESSION: Target = Target {
    name: "session",
    run: session::run,
};
/// Compressed values.
pub const DECOMPRESS: Target = Target {
    name: "decompress",
    run: decompress::run,
};
/// Typed values.
pub const TYPED: Target = Target {
    name: "typed",
    run: typed::run,
};
/// Bodies of BATCH.
pub const BATCH: Target = Target {
    name: "batch",
    run: batch::run,
};
/// A planted bug that every harness must find.
pub const CANARY: Target = Target {
    name: "canary",
    run: canary::run,
};

/// Every target of this crate.
pub const ALL: &[Target] = &[
    HEADER,
    FRAME_STREAM,
    ASSEMBLER_OPS,
    HANDSHAKE_SERVER,
    HANDSHAKE_CLIENT,
    SESSION,
    DECOMPRESS,
    TYPED,
    BATCH,
    CANARY,
];

/// An input on which the canary's planted bug shows.
pub const CANARY_TRIGGER: &[u8] = canary::TRIGGER;
