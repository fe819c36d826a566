//! The real client against a scripted server, through in-memory streams and loopback sockets.

mod basic;
mod support;
