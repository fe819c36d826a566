//! The texts that stand for sizes, durations and rates in a configuration.
//!
//! Owns their grammar, both ways. Invariant: a number without a unit is never taken for one of these,
//! because a reader could not tell bytes from kibibytes or milliseconds from seconds.

use std::num::NonZeroU32;
use std::time::Duration;

const SIZE_UNITS: [(&str, u64); 5] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

/// Longest first, in milliseconds.
const TIME_UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Splits `12MiB` into 12 and `MiB`. Underscores may group digits.
fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '_')
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(end)?;
    let number = digits.replace('_', "").parse().ok()?;
    Some((number, unit.trim_start()))
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (number, unit) = split(text)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*factor)
}

/// A size in bytes: `512B`, `64KiB`, `1MiB`, `2GiB`.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    scaled(text, &SIZE_UNITS)
}

/// A duration: `250ms`, `5s`, `2m`, `1h`, `1d`.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    scaled(text, &TIME_UNITS).map(Duration::from_millis)
}

fn largest_exact(number: u64, units: &[(&str, u64)], smallest: &str) -> String {
    let exact = units
        .iter()
        .find(|(_, factor)| number >= *factor && number.is_multiple_of(*factor));
    match exact {
        Some((unit, factor)) => format!("{}{unit}", number / factor),
        None => format!("{number}{smallest}"),
    }
}

/// The shortest exact text of a size.
pub(super) fn format_size(bytes: u64) -> String {
    largest_exact(bytes, &SIZE_UNITS, "B")
}

/// The shortest exact text of a duration of whole milliseconds.
pub(super) fn format_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    // Seconds and minutes read better than `0ms` and `1d`.
    if millis == 0 {
        "0s".to_owned()
    } else {
        largest_exact(millis, &TIME_UNITS[1..], "ms")
    }
}

/// So many events in so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub events: NonZeroU32,
    /// In which time.
    pub per: Duration,
}

impl Rate {
    /// `1000/s`, `600/m`, `10/h`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (events, per) = text.split_once('/')?;
        let events = events
            .trim()
            .replace('_', "")
            .parse()
            .ok()
            .and_then(NonZeroU32::new)?;
        let per = match per.trim() {
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            _ => return None,
        };
        Some(Self { events, per })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_need_a_unit_and_do_not_overflow() {
        for (text, bytes) in [
            ("0B", 0),
            ("1B", 1),
            ("64KiB", 65_536),
            ("16 MiB", 16 << 20),
            ("1_000B", 1000),
            ("2TiB", 2 << 40),
        ] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in [
            "",
            "64",
            "64MB",
            "MiB",
            "-1B",
            "1.5MiB",
            "64mib",
            "99999999999TiB",
            "1 B x",
        ] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn durations_need_a_unit() {
        for (text, millis) in [
            ("250ms", 250),
            ("5s", 5000),
            ("2m", 120_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Some(Duration::from_millis(millis)),
                "{text}"
            );
        }
        for text in ["", "5", "s", "5 sec", "1m30s", "-1s", "0.5s"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_formatted_parses_to_the_same() {
        for bytes in [0, 1, 512, 1024, 1025, 65_536, 1 << 30, (1 << 40) + 1] {
            assert_eq!(parse_size(&format_size(bytes)), Some(bytes));
        }
        for millis in [0, 1, 250, 1000, 1500, 60_000, 90_000, 3_600_000, 86_400_000] {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse_duration(&format_duration(duration)), Some(duration));
        }
        assert_eq!(format_size(1 << 20), "1MiB");
        assert_eq!(format_duration(Duration::from_secs(60)), "1m");
    }

    #[test]
    fn rates_name_events_and_time() {
        let rate = Rate::parse("1_000/s").unwrap();
        assert_eq!(
            (rate.events.get(), rate.per),
            (1000, Duration::from_secs(1))
        );
        assert_eq!(Rate::parse("6/m").unwrap().per, Duration::from_secs(60));
        for text in ["", "10", "0/s", "10/", "10/d", "x/s", "10/s/s"] {
            assert_eq!(Rate::parse(text), None, "{text}");
        }
    }
}
