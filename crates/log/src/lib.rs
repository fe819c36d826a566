//! Write-ahead log of kv: checksummed groups in segments, recovery and the side file.
#![forbid(unsafe_code)]
