//! The loop against small servers in this process.
