//! `header`: what parses encodes to the same bytes, and the length bound is exact.

use kv_proto::{Extensions, HEADER_LEN, Header, Opcode};

pub(super) fn run(data: &[u8]) {
    let Some((raw, block)) = data.split_first_chunk::<HEADER_LEN>() else {
        return;
    };
    if let Ok(header) = Header::parse(raw) {
        assert_eq!(&header.to_bytes(), raw);
        let declared = u64::from(header.ext_len)
            .saturating_add(u64::from(header.key_len))
            .saturating_add(u64::from(header.value_len));
        assert_eq!(header.body_len(), declared);
        for max in [0, 1, 4096, u32::MAX] {
            let bounded = header.bounded_body_len(max).ok();
            let fits = declared <= u64::from(max);
            let expected = if fits {
                usize::try_from(declared).ok()
            } else {
                None
            };
            assert_eq!(bounded.map(kv_proto::BodyLen::get), expected);
        }
    }
    for opcode in Opcode::ALL {
        extensions(block, *opcode);
    }
}

/// A block that decodes says the same after being written and read again.
fn extensions(block: &[u8], opcode: Opcode) {
    let allowed = opcode.info().ext;
    let Ok(decoded) = Extensions::decode(block, allowed) else {
        return;
    };
    let encoded = decoded.encode();
    let again = Extensions::decode(encoded.as_bytes(), allowed);
    assert_eq!(again, Ok(decoded), "{}", opcode.name());
}
