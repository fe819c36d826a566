//! The real client against a scripted server, through in-memory streams and loopback sockets.

mod basic;
mod cancel;
mod order;
mod stall;
mod support;
