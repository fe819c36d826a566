//! What was built.

use kv_service::BuildInfo;

/// The version of the package.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit, or `unknown` in debug builds.
pub const COMMIT: &str = env!("KV_BUILD_COMMIT");
/// The platform.
pub(crate) const TARGET: &str = env!("KV_BUILD_TARGET");
/// The compiler.
pub(crate) const RUSTC: &str = env!("KV_BUILD_RUSTC");

/// Features of the build, for `--version`.
pub(crate) const FEATURES: &str = if cfg!(feature = "mimalloc") {
    "mimalloc"
} else {
    "none"
};

/// For the metrics.
pub(crate) const BUILD: BuildInfo = BuildInfo {
    version: VERSION,
    commit: COMMIT,
    rustc: RUSTC,
};
