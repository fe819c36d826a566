//! `certs show`: the facts of certificates.

use serde_json::{Map, Value};

use super::CertificateFacts;
use crate::error::CliError;
use crate::output::{Format, Output, Tree, escaped, plural, utc_text};

/// Shows them in the order of the file.
pub(super) fn write(output: &mut Output, all: &[CertificateFacts]) -> Result<(), CliError> {
    if output.format != Format::Human && output.format != Format::Raw {
        let list: Value = all
            .iter()
            .map(|facts| Value::Object(object(facts)))
            .collect();
        return output.tree(&Tree(list));
    }
    for (index, facts) in all.iter().enumerate() {
        if index > 0 {
            output.line("")?;
        }
        output.line(&human(facts))?;
    }
    Ok(())
}

fn object(facts: &CertificateFacts) -> Map<String, Value> {
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| {
        object.insert(name.to_owned(), value);
    };
    put("subject", facts.subject.as_str().into());
    put("issuer", facts.issuer.as_str().into());
    put("ca", facts.is_ca.into());
    put("names", facts.names.clone().into());
    put("purposes", facts.purposes.clone().into());
    put("not_before", utc_text(facts.not_before).into());
    put("not_after", utc_text(facts.not_after).into());
    put("in_force", facts.in_force().into());
    put("sha256", facts.sha256.as_str().into());
    object
}

fn human(facts: &CertificateFacts) -> String {
    let issuer = if facts.self_signed {
        "itself".to_owned()
    } else {
        facts.issuer.clone()
    };
    let mut lines = vec![
        ("subject", facts.subject.clone()),
        ("issuer", issuer),
        (
            "authority",
            if facts.is_ca { "yes" } else { "no" }.to_owned(),
        ),
    ];
    if !facts.names.is_empty() {
        lines.push(("names", facts.names.join(", ")));
    }
    if !facts.purposes.is_empty() {
        lines.push(("purposes", facts.purposes.join(", ")));
    }
    lines.push((
        "valid",
        format!("from {} {}", utc_text(facts.not_before), validity(facts)),
    ));
    lines.push(("sha256", facts.sha256.clone()));
    let lines: Vec<String> = lines
        .into_iter()
        .map(|(name, text)| format!("{name:<10}{}", escaped(text.as_bytes())))
        .collect();
    lines.join("\n")
}

fn validity(facts: &CertificateFacts) -> String {
    let end = utc_text(facts.not_after);
    match (facts.in_force(), u64::try_from(facts.days_left())) {
        (true, Ok(days)) => format!("until {end}: {} left", plural(days, "day")),
        (false, Ok(_)) => format!("until {end}: not yet valid"),
        (_, Err(_)) => format!("until {end}: EXPIRED"),
    }
}
