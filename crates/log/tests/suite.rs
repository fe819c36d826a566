//! The log from outside: what it gives back after closing, damage, crashes and power cuts.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]
#![expect(clippy::indexing_slicing, reason = "tests index what they made")]
#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]
#![expect(clippy::cast_possible_truncation, reason = "sizes of tests are small")]

#[path = "suite/support.rs"]
mod support;

#[path = "suite/reference.rs"]
mod reference;

#[path = "suite/disk.rs"]
mod disk;

#[path = "suite/round_trip.rs"]
mod round_trip;

#[path = "suite/damage.rs"]
mod damage;

#[path = "suite/missing.rs"]
mod missing;

#[path = "suite/crash.rs"]
mod crash;

#[path = "suite/model.rs"]
mod model;

#[path = "suite/side_files.rs"]
mod side_files;

#[path = "suite/disk_full.rs"]
mod disk_full;
