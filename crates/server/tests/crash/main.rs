//! What is left after a crash: the real program, killed, cut off from its disk, out of room, with
//! system calls that fail and files that are damaged.
//!
//! Whoever remembers what was acknowledged is the test, which outlives the server. Every suite has a
//! canary that it must find. In CI each does a little; `cargo xtask crash` does a lot.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests: what fails here is a failed test"
)]

mod bounds;
mod clock;
mod damage;
mod directory;
mod full;
mod histories;
mod inject;
mod kill;
mod load;
mod power;
mod server;
mod slow;
mod survey;
