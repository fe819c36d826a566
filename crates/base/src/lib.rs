//! Ordered store on disk behind the durable engine of kv.
#![forbid(unsafe_code)]
