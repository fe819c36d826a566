//! From OpenMetrics to the older text format 0.0.4.
//!
//! The encoder library writes OpenMetrics only. The formats differ in how families of counters and
//! infos are named, and in the lines `UNIT` and `EOF`. Invariant: samples stay byte for byte.

use std::fmt::Write as _;

/// Rewrites an exposition.
pub(super) fn to_text_format(open_metrics: &str) -> String {
    let mut out = String::with_capacity(open_metrics.len());
    let mut help = None;
    for line in open_metrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            // Written with the type, which decides the name of the family.
            help = rest.split_once(' ').map(|(_, text)| text);
        } else if let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|rest| rest.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                other => ("", other),
            };
            let text = help.take().unwrap_or_default();
            let _ = writeln!(out, "# HELP {name}{suffix} {text}");
            let _ = writeln!(out, "# TYPE {name}{suffix} {kind}");
        } else if !line.starts_with("# ") {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_renamed_and_newer_lines_dropped() {
        let open_metrics = "\
# HELP kv_a Things.
# TYPE kv_a counter
kv_a_total{x=\"1\"} 5
# HELP kv_b Build.
# TYPE kv_b info
kv_b_info{v=\"1\"} 1
# HELP kv_c_seconds Time.
# TYPE kv_c_seconds gauge
# UNIT kv_c_seconds seconds
kv_c_seconds 1.5
# EOF
";
        let text = "\
# HELP kv_a_total Things.
# TYPE kv_a_total counter
kv_a_total{x=\"1\"} 5
# HELP kv_b_info Build.
# TYPE kv_b_info gauge
kv_b_info{v=\"1\"} 1
# HELP kv_c_seconds Time.
# TYPE kv_c_seconds gauge
kv_c_seconds 1.5
";
        assert_eq!(to_text_format(open_metrics), text);
    }
}
