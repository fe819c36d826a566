//! A panic inside fjall becomes an error, without its message on standard error.
//!
//! fjall asserts what it reads from its files. The checks of `guard` and its own checksums leave
//! few ways to get there; this is the last one. Only panics on the calling thread are caught; one
//! in a worker of fjall poisons the database, which the next write reports.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use crate::BaseError;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `call`; a panic in it is [`BaseError::Corrupt`], naming what was tried and what it said.
///
/// Unwind safety: fjall's locks are poisoned by a panic and its later calls fail, so no half
/// changed state is used again.
pub(crate) fn caught<T>(
    while_doing: &'static str,
    call: impl FnOnce() -> Result<T, BaseError>,
) -> Result<T, BaseError> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = take_hook();
        set_hook(Box::new(move |info| {
            if !QUIET.get() {
                loud(info);
            }
        }));
    });
    let before = QUIET.replace(true);
    let result = catch_unwind(AssertUnwindSafe(call));
    QUIET.set(before);
    result.unwrap_or_else(|panic| {
        Err(BaseError::corrupt(format!(
            "{while_doing}: {}",
            message(&*panic)
        )))
    })
}

/// The same for a call of fjall.
pub(crate) fn fjall<T>(
    while_doing: &'static str,
    call: impl FnOnce() -> fjall::Result<T>,
) -> Result<T, BaseError> {
    caught(while_doing, || {
        call().map_err(|error| BaseError::from_fjall(error, while_doing))
    })
}

fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("panic without a message")
}
