//! Protocol buffers, with the messages written by hand instead of made by a compiler.
//!
//! A program that uses prost keeps its data in prost's structs, so [`Records`] is what is encoded and
//! decoded; turning it into [`Record`]s is for the tests only and is not measured.

use prost::Message;

use crate::record::Record;

/// `repeated Record`
#[derive(Clone, PartialEq, Message)]
pub struct Records {
    /// The list.
    #[prost(message, repeated, tag = "1")]
    pub records: Vec<ProtoRecord>,
}

/// The record, its fields numbered.
#[derive(Clone, PartialEq, Message)]
pub struct ProtoRecord {
    /// `Record::id`
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// `Record::name`
    #[prost(string, tag = "2")]
    pub name: String,
    /// `Record::score`
    #[prost(double, tag = "3")]
    pub score: f64,
    /// `Record::active`
    #[prost(bool, tag = "4")]
    pub active: bool,
    /// `Record::visits`
    #[prost(uint32, tag = "5")]
    pub visits: u32,
    /// `Record::tags`
    #[prost(string, repeated, tag = "6")]
    pub tags: Vec<String>,
}

impl From<&[Record]> for Records {
    fn from(records: &[Record]) -> Self {
        let records = records.iter().cloned().map(|record| ProtoRecord {
            id: record.id,
            name: record.name,
            score: record.score,
            active: record.active,
            visits: record.visits,
            tags: record.tags,
        });
        Self {
            records: records.collect(),
        }
    }
}

pub(crate) fn encode(records: &[Record], out: &mut Vec<u8>) {
    Records::from(records).encode(out).unwrap();
}

pub(crate) fn decode(bytes: &[u8]) -> Vec<Record> {
    let records = Records::decode(bytes).unwrap().records.into_iter();
    records
        .map(|record| Record {
            id: record.id,
            name: record.name,
            score: record.score,
            active: record.active,
            visits: record.visits,
            tags: record.tags,
        })
        .collect()
}
