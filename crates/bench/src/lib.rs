//! Load generator and comparison benchmarks of kv.
//!
//! Measures a server from outside: what it answers per second, how late, and what that costs it. Other
//! systems are measured by the same event loop. Nothing here is part of a server or a client.
#![forbid(unsafe_code)]

mod arguments;
mod command;
mod driver;
mod floor;
mod latency;
mod measure;
mod profile;
mod protocol;
mod report;
mod results;
mod shapes;
mod system;
mod table;
mod through_client;
mod trial;
mod workload;

pub use arguments::{Arguments, Running};
pub use command::{execute, execute_counting};
pub use floor::serve_floor;
pub use through_client::AllocationCounter;
