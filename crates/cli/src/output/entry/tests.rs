use super::super::testing::kept;
use super::*;

fn entry(key: &[u8], value: &[u8]) -> Entry {
    Entry {
        key: key.to_vec(),
        value: Some(value.to_vec()),
        version: Some(7),
        ttl_ms: None,
        document: None,
    }
}

fn written(format: Format, shape: Shape, show: Show, entries: &[Entry]) -> Vec<u8> {
    let (mut output, kept) = kept(format);
    let mut writer = Entries::new(shape, show, Separator::Line);
    for entry in entries {
        writer.entry(&mut output, entry).unwrap();
    }
    writer.end(&mut output).unwrap();
    kept.take()
}

#[test]
fn raw_is_exactly_the_bytes_of_one_value() {
    let value: Vec<u8> = (0..=255).collect();
    let bytes = written(
        Format::Raw,
        Shape::One,
        Show::Values,
        &[entry(b"k", &value)],
    );
    assert_eq!(bytes, value);
}

#[test]
fn raw_ends_the_line_on_a_terminal_only() {
    let (mut output, kept) = kept(Format::Raw);
    output.terminal.stdout_is_terminal = true;
    for (value, shown) in [(&b"v"[..], &b"v\n"[..]), (b"v\n", b"v\n")] {
        let mut writer = Entries::new(Shape::One, Show::Values, Separator::Line);
        writer.entry(&mut output, &entry(b"k", value)).unwrap();
        assert_eq!(kept.take(), shown);
    }
}

#[test]
fn several_raw_items_are_lines_or_end_with_zero() {
    let all = [entry(b"a", b"1"), entry(b"b", b"2")];
    let bytes = written(Format::Raw, Shape::Many, Show::Keys, &all);
    assert_eq!(bytes, b"a\nb\n");
    let bytes = written(Format::Raw, Shape::Many, Show::Both, &all);
    assert_eq!(bytes, b"a\t1\nb\t2\n");
    let (mut output, kept) = kept(Format::Raw);
    let mut writer = Entries::new(Shape::Many, Show::Keys, Separator::Null);
    writer.entry(&mut output, &entry(b"a\nb", b"")).unwrap();
    assert_eq!(kept.take(), b"a\nb\0");
}

#[test]
fn json_is_one_object_for_one_and_one_array_for_many() {
    let text = written(Format::Json, Shape::One, Show::Values, &[entry(b"k", b"v")]);
    assert_eq!(
        text,
        br#"{"key":"k","value":"v","encoding":"utf8","version":7,"ttl_ms":null}
"#
    );
    let both = [entry(b"a", b"1"), entry(b"b", b"\xff")];
    let text = written(Format::Json, Shape::Many, Show::Values, &both);
    let parsed: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(parsed[1]["value"], "/w==");
    assert_eq!(parsed[1]["encoding"], "base64");
    assert_eq!(
        written(Format::Json, Shape::Many, Show::Values, &[]),
        b"[]\n"
    );
    let text = written(Format::Jsonl, Shape::Many, Show::Keys, &both);
    assert_eq!(
        text,
        b"{\"key\":\"a\",\"version\":7,\"ttl_ms\":null}\n{\"key\":\"b\",\"version\":7,\"ttl_ms\":null}\n"
    );
}

#[test]
fn people_see_escaped_text_and_absent_entries() {
    let text = written(
        Format::Human,
        Shape::One,
        Show::Values,
        &[entry(b"k", b"a\x1b[31m\nb\n")],
    );
    assert_eq!(text, b"a\\x1b[31m\nb\n");
    let absent = Entry {
        key: b"x\n".to_vec(),
        ..Entry::default()
    };
    let text = written(
        Format::Human,
        Shape::Many,
        Show::Values,
        std::slice::from_ref(&absent),
    );
    assert_eq!(text, b"x\\n = (absent)\n");
    let text = written(Format::Jsonl, Shape::Many, Show::Values, &[absent]);
    assert_eq!(text, b"{\"key\":\"x\\n\",\"value\":null}\n");
}

#[test]
fn a_table_shows_the_beginning_of_long_values() {
    let long = "é".repeat(500);
    let text = written(
        Format::Table,
        Shape::Many,
        Show::Both,
        &[entry(b"k", long.as_bytes())],
    );
    let text = String::from_utf8(text).unwrap();
    assert_eq!(text.matches('é').count(), TABLE_VALUE_CHARS);
    assert!(text.contains('…'));
}
