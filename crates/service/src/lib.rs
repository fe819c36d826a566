//! What a kv server can do, free of any wire: the keyspace, identities and permissions, quotas, the
//! memory accountant and the metrics. Front doors translate between their wire and this crate.
#![forbid(unsafe_code)]

mod accountant;
mod identity;
mod metrics;
mod quota;

pub use accountant::{Accountant, Lease, Pressure, Thresholds};
pub use identity::{
    Identity, InvalidName, KEYS_PER_IDENTITY_MAX, KeyEntry, KeyRing, KeyRingError, NAME_BYTES_MAX,
    Permission, Permissions, Role, SECRET_BYTES_MIN, Secret, SecretTooShort, UnknownName,
    check_name,
};
pub use metrics::{
    AuthResult, BuildInfo, Certificate, CertificateTimes, Closure, Code, Door, Durations,
    Exposition, FrameRejection, LibraryGuard, Listener, Mechanism, Metrics, Operation,
    ProcessSample, RateScope, Recorder, Rejection, Scrape, StoreSample, Success, TlsResult,
};
pub use quota::{Quota, QuotaConfig, Quotas, Share, Verdict};
