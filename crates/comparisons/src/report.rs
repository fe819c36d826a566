//! The report: one file for each comparison, and what they share.

pub(crate) mod compression;
pub(crate) mod document;
pub(crate) mod formats;
pub(crate) mod latency;
pub(crate) mod machine;
pub(crate) mod plot;
pub(crate) mod protection;
pub(crate) mod results;

/// Three digits, with what they are of.
pub(crate) fn time(ns: f64) -> String {
    let (value, unit) = match ns {
        0.0 => return "–".to_owned(),
        ns if ns < 1e3 => (ns, "ns"),
        ns if ns < 1e6 => (ns / 1e3, "µs"),
        ns => (ns / 1e6, "ms"),
    };
    format!("{} {unit}", digits(value))
}

/// Three digits.
pub(crate) fn digits(value: f64) -> String {
    let size = value.abs();
    if size >= 100.0 {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// With commas between thousands.
pub(crate) fn count(value: usize) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A Markdown table: the first column is text, the others are numbers.
pub(crate) fn table(head: &[String], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let rule: Vec<String> = (0..head.len())
        .map(|column| if column == 0 { "---" } else { "---:" }.to_owned())
        .collect();
    let mut text = line(head) + &line(&rule).replace(' ', "");
    for row in rows {
        text += &line(row);
    }
    text
}
