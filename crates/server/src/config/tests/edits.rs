//! Edited samples: whatever somebody makes of the sample file is a configuration or a list of
//! mistakes with places, and what is printed reads back the same.

use std::path::Path;

use proptest::prelude::*;

use super::super::*;

/// What may happen to a line.
#[derive(Clone, Debug)]
enum Edit {
    Delete,
    Repeat,
    Uncomment,
    Insert(usize, String),
    Value(&'static str),
}

fn edit() -> impl Strategy<Value = Edit> {
    let values = [
        "0",
        "-1",
        "1",
        "\"\"",
        "\"1MiB\"",
        "\"5s\"",
        "true",
        "[]",
        "[\"read\"]",
        "\"a\\u0000b\"",
        "{}",
        "1e9",
        "9223372036854775808",
        "1979-05-27",
        "[[1]]",
        "\"é\"",
        "inf",
        "",
        "'",
        "[",
    ];
    prop_oneof![
        Just(Edit::Delete),
        Just(Edit::Repeat),
        Just(Edit::Uncomment),
        (any::<prop::sample::Index>(), "\\PC{0,3}")
            .prop_map(|(at, text)| Edit::Insert(at.index(80), text)),
        prop::sample::select(values.to_vec()).prop_map(Edit::Value),
    ]
}

fn apply(line: &str, edit: Edit) -> String {
    match edit {
        Edit::Delete => String::new(),
        Edit::Repeat => format!("{line}\n{line}"),
        Edit::Uncomment => line.strip_prefix("# ").unwrap_or(line).to_owned(),
        Edit::Insert(at, text) => {
            let mut chars: Vec<char> = line.chars().collect();
            let at = at.min(chars.len());
            chars.splice(at..at, text.chars());
            chars.into_iter().collect()
        }
        Edit::Value(value) => match line.split_once(" = ") {
            Some((key, _)) => format!("{} = {value}", key.trim_start_matches("# ")),
            None => line.to_owned(),
        },
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_edited_sample_is_a_configuration_or_a_list_of_mistakes(
        edits in prop::collection::vec((any::<prop::sample::Index>(), edit()), 1..8),
    ) {
        let mut lines: Vec<String> = default_file().lines().map(str::to_owned).collect();
        for (at, edit) in edits {
            let at = at.index(lines.len());
            lines[at] = apply(&lines[at], edit);
        }
        let text = lines.join("\n");
        let path = Path::new("kv.toml");
        match parse(path, &text) {
            Ok(loaded) => {
                let printed = loaded.print(PrintSources::Shown);
                let again = parse(path, &printed).map_err(|m| TestCaseError::fail(format!("{m}\n{printed}")))?;
                prop_assert_eq!(format!("{:?}", again.config), format!("{:?}", loaded.config));
            }
            Err(mistakes) => {
                prop_assert!(!mistakes.all().is_empty());
                let shown = mistakes.to_string();
                for mistake in mistakes.all() {
                    let placed = !matches!(mistake.place, Place::Default);
                    prop_assert!(placed || !mistake.key.is_empty(), "{}", shown);
                }
            }
        }
    }
}
