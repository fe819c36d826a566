//! The real client against a scripted server, through in-memory streams and loopback sockets.

mod basic;
mod batch;
mod cancel;
mod drain;
mod hostile;
mod large;
mod lost;
mod order;
mod stall;
mod streams;
mod support;
mod time;
