//! Engines that are slow, broken or durable where a test wants it, around an engine that works.

mod capturing;
mod durable;
mod panicking;
mod slow;

use kv_store::{Op, OwnedOp};

pub use capturing::CaptureEngine;
pub use durable::DurableEngine;
pub use panicking::PanicEngine;
pub use slow::{Gate, SlowEngine};

fn key_of(op: &OwnedOp) -> &[u8] {
    op.as_op().key()
}

/// Where in `ops` the first key begins with `prefix`.
fn first_with(ops: &[Op<'_>], prefix: &[u8]) -> Option<usize> {
    ops.iter().position(|op| op.key().starts_with(prefix))
}
