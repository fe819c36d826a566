//! What a caller insists on, whatever the server would agree to. Checked on every connection, so that
//! nobody in between, and no change of the server, lowers it in silence.

use kv_proto::Suite;

use crate::error::{Error, ErrorKind, Retry};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pins {
    pub(crate) tls: Pin,
    pub(crate) encryption: Pin,
    pub(crate) authentication: Pin,
}

/// Whether something is insisted on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Pin {
    #[default]
    Open,
    Required,
}

impl Pins {
    /// Judges an established session.
    pub(crate) fn check(self, suite: Suite, is_tls: bool) -> Result<(), Error> {
        let encrypted = is_tls || suite == Suite::Encrypted;
        for (pin, holds, text) in [
            (
                self.tls,
                is_tls,
                "the connection is not under TLS, which require_tls asks for",
            ),
            (
                self.encryption,
                encrypted,
                "the session is not encrypted, which require_encryption asks for",
            ),
            (
                self.authentication,
                suite != Suite::Checksum,
                "the session is not authenticated, which require_authentication asks for",
            ),
        ] {
            if pin == Pin::Required && !holds {
                return Err(Error::new(ErrorKind::InvalidArgument(text), Retry::No));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pin_holds_in_every_combination_of_suite_and_transport() {
        let required = Pin::Required;
        for suite in Suite::ALL {
            for is_tls in [false, true] {
                let open = Pins::default();
                assert!(open.check(suite, is_tls).is_ok());
                let tls = Pins {
                    tls: required,
                    ..open
                };
                assert_eq!(tls.check(suite, is_tls).is_ok(), is_tls);
                let encrypted = Pins {
                    encryption: required,
                    ..open
                };
                let expected = is_tls || suite == Suite::Encrypted;
                assert_eq!(encrypted.check(suite, is_tls).is_ok(), expected);
                let authentic = Pins {
                    authentication: required,
                    ..open
                };
                assert_eq!(
                    authentic.check(suite, is_tls).is_ok(),
                    suite != Suite::Checksum
                );
            }
        }
    }
}
