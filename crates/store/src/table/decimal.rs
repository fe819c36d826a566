//! Numbers as the text that counters keep.

use std::io::Write as _;

/// Digits and sign of the longest `i64`.
const TEXT_BYTES_MAX: usize = 20;

/// The decimal text of a number.
pub(crate) struct Decimal {
    text: [u8; TEXT_BYTES_MAX],
    len: usize,
}

impl Decimal {
    pub(crate) fn new(number: i64) -> Self {
        let mut text = [0; TEXT_BYTES_MAX];
        let mut rest = text.as_mut_slice();
        // Cannot fail: there is room for every `i64`.
        let written = write!(rest, "{number}");
        debug_assert!(written.is_ok());
        let len = TEXT_BYTES_MAX - rest.len();
        Self { text, len }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        self.text.get(..self.len).unwrap_or_default()
    }

    /// The number whose decimal text this is: an optional minus sign and digits.
    pub(crate) fn parse(text: &[u8]) -> Option<i64> {
        if text.first() == Some(&b'+') {
            return None;
        }
        std::str::from_utf8(text).ok()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn other_text_is_no_number() {
        for text in [
            "",
            "-",
            "+1",
            " 1",
            "1 ",
            "1.0",
            "0x1",
            "--1",
            "9223372036854775808",
            "eins",
        ] {
            assert_eq!(Decimal::parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(Decimal::parse(b"\xff"), None);
    }

    #[test]
    fn the_longest_number_fits() {
        assert_eq!(Decimal::new(i64::MIN).as_slice(), b"-9223372036854775808");
        assert_eq!(Decimal::parse(b"-9223372036854775808"), Some(i64::MIN));
    }

    proptest! {
        #[test]
        fn text_is_read_back_as_the_number(number: i64) {
            prop_assert_eq!(Decimal::parse(Decimal::new(number).as_slice()), Some(number));
        }
    }
}
