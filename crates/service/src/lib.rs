//! What a kv server can do, free of any wire: the keyspace, identities and permissions, quotas, the
//! memory accountant and the metrics. Front doors translate between their wire and this crate.
#![forbid(unsafe_code)]

mod access;
mod accountant;
mod clock;
mod identity;
mod keyspace;
mod metrics;
mod quota;
mod sweeper;

pub use access::{Denied, check_access, needed};
pub use accountant::{Accountant, Lease, Pressure, Thresholds};
pub use clock::{Clock, SystemClock};
pub use identity::{
    IDENTITY_BYTES_MAX, Identity, InvalidName, KEY_ID_BYTES_MAX, KEYS_PER_IDENTITY_MAX, KeyEntry,
    KeyRing, KeyRingError, Permission, Permissions, Role, SECRET_BYTES_MIN, Secret, SecretTooShort,
    UnknownName, check_key_id,
};
pub use keyspace::Service;
pub use kv_store::{
    Atomic, Batch, BatchOutcome, Blame, Capture, Completion, Condition, DiskStats, Durable, Engine,
    Entry, Expiry, Health, INLINE_VALUE_BYTES_MAX, KEY_BYTES_MAX, MemoryConfig, MemoryEngine, Now,
    Op, OperationId, Outcome, OwnedEntry, OwnedOp, OwnedOutcome, OwnedRange, Page, PageLimits,
    Position, SYNC_BUCKETS_US, ScanDone, ScanRange, ScannedPage, Sink, Stats, StoreError, Value,
    Wake,
};
pub use metrics::{
    AuthResult, BuildInfo, Certificate, CertificateTimes, Closure, Code, Door, Durations,
    Exposition, FrameRejection, LibraryGuard, Listener, Mechanism, Metrics, Operation,
    ProcessSample, RateScope, Recorder, Rejection, Scrape, StoreSample, Success, TlsResult,
};
pub use quota::{Quota, QuotaConfig, Quotas, Share, Verdict};
pub use sweeper::{SWEEP_STEP_MAX, SWEEP_STEP_MIN, Sweeper, Swept};
