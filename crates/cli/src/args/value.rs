//! Kinds of values on the command line: durations, bytes.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::str::FromStr;
use std::time::Duration as StdDuration;

/// A duration with its unit: `500ms`, `5s`, `10m`, `1h`, `7d`, or a sum such as `1h30m`.
///
/// A bare number is refused: nobody can see whether it means seconds or milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Duration(pub(crate) StdDuration);

/// Milliseconds of each unit; `ms` stands in front of `m`, which is its beginning.
const UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// Why a text is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DurationError {
    /// A number without unit.
    NoUnit,
    /// Anything else.
    Malformed,
    /// Zero, or more than fits.
    OutOfRange,
}

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoUnit => "a duration has a unit: 500ms, 5s, 10m, 1h or 7d",
            Self::Malformed => "not a duration, such as 500ms, 5s, 10m, 1h30m or 7d",
            Self::OutOfRange => "a duration is at least 1ms and at most 2^64-1 ms",
        })
    }
}

impl std::error::Error for DurationError {}

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let mut rest = text.trim();
        let mut total: u64 = 0;
        if rest.is_empty() {
            return Err(DurationError::Malformed);
        }
        while !rest.is_empty() {
            let digits = rest
                .find(|c: char| !c.is_ascii_digit())
                .ok_or(DurationError::NoUnit)?;
            let (number, tail) = rest.split_at(digits);
            let number: u64 = match number.parse() {
                Ok(number) => number,
                Err(_) if number.is_empty() => return Err(DurationError::Malformed),
                Err(_) => return Err(DurationError::OutOfRange),
            };
            let (factor, tail) = UNITS
                .iter()
                .find_map(|(unit, factor)| tail.strip_prefix(unit).map(|tail| (factor, tail)))
                .ok_or(DurationError::Malformed)?;
            total = number
                .checked_mul(*factor)
                .and_then(|part| total.checked_add(part))
                .ok_or(DurationError::OutOfRange)?;
            rest = tail;
        }
        if total == 0 {
            return Err(DurationError::OutOfRange);
        }
        Ok(Self(StdDuration::from_millis(total)))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if left == 0 {
            return f.write_str("0ms");
        }
        for (unit, factor) in UNITS.iter().rev() {
            let count = left / factor;
            if count > 0 {
                write!(f, "{count}{unit}")?;
                left -= count * factor;
            }
        }
        Ok(())
    }
}

/// The bytes of an argument as the shell gave them.
#[cfg(unix)]
pub(crate) fn os_bytes(text: &OsStr) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    text.as_bytes().to_vec()
}

/// The bytes of an argument, as UTF-8.
#[cfg(not(unix))]
pub(crate) fn os_bytes(text: &OsStr) -> Vec<u8> {
    text.to_string_lossy().into_owned().into_bytes()
}

/// An argument made of bytes: what the prompt hands to the parser.
#[cfg(unix)]
pub(crate) fn os_string(bytes: Vec<u8>) -> OsString {
    use std::os::unix::ffi::OsStringExt;
    OsString::from_vec(bytes)
}

/// An argument made of bytes, as UTF-8.
#[cfg(not(unix))]
pub(crate) fn os_string(bytes: Vec<u8>) -> OsString {
    String::from_utf8_lossy(&bytes).into_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_may_be_sums() {
        for (text, ms) in [
            ("500ms", 500),
            ("5s", 5_000),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("7d", 604_800_000),
            (" 1s500ms ", 1_500),
        ] {
            let parsed: Duration = text.parse().unwrap();
            assert_eq!(parsed.0, StdDuration::from_millis(ms), "{text}");
            assert_eq!(parsed.to_string().parse(), Ok(parsed), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for (text, why) in [
            ("60", DurationError::NoUnit),
            ("1h30", DurationError::NoUnit),
            ("", DurationError::Malformed),
            ("s", DurationError::Malformed),
            ("-5s", DurationError::Malformed),
            ("5 s", DurationError::Malformed),
            ("5w", DurationError::Malformed),
            ("0s", DurationError::OutOfRange),
            ("99999999999999999999s", DurationError::OutOfRange),
            ("18446744073709551615s", DurationError::OutOfRange),
        ] {
            assert_eq!(text.parse::<Duration>(), Err(why), "{text}");
        }
    }
}
