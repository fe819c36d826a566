//! What is below the session of a dialled connection: nothing, or TLS where it was built in.

#[cfg(feature = "tls")]
mod with_tls;
#[cfg(not(feature = "tls"))]
mod without_tls;

#[cfg(feature = "tls")]
pub(crate) use with_tls::Security;
#[cfg(not(feature = "tls"))]
pub(crate) use without_tls::Security;
