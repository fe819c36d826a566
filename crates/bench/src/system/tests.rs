//! Servers are found, started and ended.
