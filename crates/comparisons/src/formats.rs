//! The formats, each as two functions: a list of records to bytes, and back.
//!
//! Those that know the type of what they carry turn bytes into [`Record`]s and back. The two trees
//! do not, and hold whatever comes: they are compared with each other.

pub mod kv;
pub mod protobuf;

use crate::record::Record;

/// One format.
pub struct Format {
    /// As in tables.
    pub name: &'static str,
    /// Appends to an empty buffer that may keep its memory.
    pub encode: fn(&[Record], &mut Vec<u8>),
    /// Panics on anything but what `encode` wrote.
    pub decode: fn(&[u8]) -> Vec<Record>,
}

/// Every format that knows the record.
pub const FORMATS: [Format; 5] = [
    Format {
        name: "kv typed",
        encode: kv::encode,
        decode: kv::decode,
    },
    Format {
        name: "JSON",
        encode: |records, out| serde_json::to_writer(out, records).unwrap(),
        decode: |bytes| serde_json::from_slice(bytes).unwrap(),
    },
    Format {
        name: "MessagePack, names",
        encode: |records, out| rmp_serde::encode::write_named(out, records).unwrap(),
        decode: |bytes| rmp_serde::from_slice(bytes).unwrap(),
    },
    Format {
        name: "MessagePack, positions",
        encode: |records, out| rmp_serde::encode::write(out, records).unwrap(),
        decode: |bytes| rmp_serde::from_slice(bytes).unwrap(),
    },
    Format {
        name: "protobuf",
        encode: protobuf::encode,
        decode: protobuf::decode,
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::records;

    #[test]
    fn every_format_gives_back_what_it_was_given() {
        let records = records(100);
        for format in FORMATS {
            let mut bytes = Vec::new();
            (format.encode)(&records, &mut bytes);
            assert!((format.decode)(&bytes) == records, "{}", format.name);
        }
    }

    #[test]
    fn typed_values_are_messagepack_byte_for_byte() {
        let records = records(100);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        kv::encode(&records, &mut ours);
        rmp_serde::encode::write_named(&mut theirs, &records).unwrap();
        assert!(ours == theirs);
        let tree = kv_proto::typed::Value::decode(&theirs).unwrap();
        let mut again = Vec::new();
        tree.encode(&mut again).unwrap();
        assert!(again == theirs);
    }
}
