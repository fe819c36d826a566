//! Typed values, through the pull reader and the writer: nothing is allocated but the records.

use kv_proto::typed::{Event, Reader, Writer};

use crate::record::Record;

/// A list of maps with text keys.
pub fn encode(records: &[Record], out: &mut Vec<u8>) {
    let mut writer = Writer::new(out);
    writer.array(records.len());
    for record in records {
        writer.map(6);
        writer.str("id").uint(record.id);
        writer.str("name").str(&record.name);
        writer.str("score").float(record.score);
        writer.str("active").bool(record.active);
        writer.str("visits").uint(record.visits.into());
        writer.str("tags").array(record.tags.len());
        for tag in &record.tags {
            writer.str(tag);
        }
    }
    writer.finish().unwrap();
}

/// Takes the fields in any order, as a reader of self-describing data must.
#[must_use]
pub fn decode(bytes: &[u8]) -> Vec<Record> {
    let mut reader = Reader::new(bytes);
    let Some(Event::Array(len)) = event(&mut reader) else {
        panic!("not a list");
    };
    // As serde does: an announced length is believed up to a bound.
    let mut records = Vec::with_capacity((len as usize).min(4_096));
    while let Some(Event::Map(_)) = event(&mut reader) {
        records.push(record(&mut reader));
    }
    assert_eq!(reader.next_event(), Ok(None));
    records
}

fn record(reader: &mut Reader<'_>) -> Record {
    let mut record = Record {
        id: 0,
        name: String::new(),
        score: 0.0,
        active: false,
        visits: 0,
        tags: Vec::new(),
    };
    while let Some(Event::Str(name)) = event(reader) {
        match name {
            "id" => record.id = uint(reader),
            "name" => record.name = text(reader),
            "score" => match event(reader) {
                Some(Event::Float(score)) => record.score = score,
                other => panic!("{other:?}"),
            },
            "active" => match event(reader) {
                Some(Event::Bool(active)) => record.active = active,
                other => panic!("{other:?}"),
            },
            "visits" => record.visits = uint(reader).try_into().unwrap(),
            "tags" => {
                let Some(Event::Array(len)) = event(reader) else {
                    panic!("not a list");
                };
                record.tags = (0..len).map(|_| text(reader)).collect();
                assert_eq!(event(reader), Some(Event::End));
            }
            _ => reader.skip().unwrap(),
        }
    }
    record
}

fn event<'a>(reader: &mut Reader<'a>) -> Option<Event<'a>> {
    reader.next_event().unwrap()
}

fn uint(reader: &mut Reader<'_>) -> u64 {
    match event(reader) {
        Some(Event::Int(number)) => number.try_into().unwrap(),
        Some(Event::UInt(number)) => number,
        other => panic!("{other:?}"),
    }
}

fn text(reader: &mut Reader<'_>) -> String {
    match event(reader) {
        Some(Event::Str(text)) => text.to_owned(),
        other => panic!("{other:?}"),
    }
}
