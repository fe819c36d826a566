//! Round trips, bounds, and every way a body can be malformed.

use proptest::prelude::*;

use super::*;

fn request(ext: &[u8], key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    BatchWriter::requests(&mut out)
        .item(Opcode::Set, ext, key, value)
        .unwrap();
    out
}

fn many(count: usize) -> Vec<u8> {
    request(b"", b"k", b"").repeat(count)
}

#[track_caller]
fn malformed(bytes: &[u8], what: &'static str, offset: usize, kind: DecodeKind) {
    let error = Batch::requests(bytes).unwrap_err();
    assert_eq!(error, DecodeError::new(what, offset, kind).into());
    assert_eq!(error.error_code(), ErrorCode::InvalidArgument);
}

#[test]
fn items_come_out_as_they_went_in() {
    let mut out = b"before".to_vec();
    let mut writer = BatchWriter::requests(&mut out);
    writer.item(Opcode::Get, b"", b"key", b"").unwrap();
    writer
        .item(Opcode::Set, b"ext", b"other", b"value")
        .unwrap();
    assert_eq!(writer.len(), 2);
    let batch = Batch::requests(&out[6..]).unwrap();
    assert_eq!(batch.len(), 2);
    let items: Vec<_> = batch.iter().collect();
    let item = |opcode: Opcode, ext, key, value| BatchItem {
        opcode: opcode.into(),
        ext,
        key,
        value,
    };
    assert_eq!(
        items,
        [
            item(Opcode::Get, &b""[..], &b"key"[..], &b""[..]),
            item(Opcode::Set, b"ext", b"other", b"value"),
        ]
    );
}

#[test]
fn replies_carry_the_index_of_their_item() {
    let mut out = Vec::new();
    let mut writer = BatchWriter::replies(&mut out);
    for _ in 0..3 {
        writer.item(Opcode::NotFound, b"", b"", b"").unwrap();
    }
    let ids: Vec<_> = out.chunks(16).map(|header| header[7]).collect();
    assert_eq!(ids, [0, 1, 2]);
    assert_eq!(Batch::replies(&out).unwrap().iter().len(), 3);
    assert!(Batch::requests(&out).is_err());
    out.drain(..16);
    assert!(Batch::replies(&out).is_err(), "a reply out of its place");
}

#[test]
fn no_item_at_all_is_allowed() {
    assert!(Batch::requests(&[]).unwrap().is_empty());
}

#[test]
fn as_many_items_as_allowed_and_not_one_more() {
    let bytes = many(BATCH_ITEMS_MAX);
    assert_eq!(
        Batch::requests(&bytes).unwrap().iter().count(),
        BATCH_ITEMS_MAX
    );
    let error = Batch::requests(&many(BATCH_ITEMS_MAX + 1)).unwrap_err();
    assert_eq!(error, BatchError::TooManyItems);
    assert_eq!(error.error_code(), ErrorCode::TooLarge);

    let mut out = Vec::new();
    let mut writer = BatchWriter::requests(&mut out);
    for _ in 0..BATCH_ITEMS_MAX {
        writer.item(Opcode::Get, b"", b"k", b"").unwrap();
    }
    let refused = writer.item(Opcode::Get, b"", b"k", b"");
    assert_eq!(refused, Err(BatchWriteError::TooManyItems));
    assert_eq!(out.len(), BATCH_ITEMS_MAX * 17);
}

#[test]
fn a_part_that_its_length_field_cannot_count_is_not_written() {
    let mut out = Vec::new();
    let mut writer = BatchWriter::requests(&mut out);
    assert_eq!(
        writer.item(Opcode::Set, &[0; 255], &[0; 65_535], b"v"),
        Ok(())
    );
    for (ext, key) in [(256, 1), (0, 65_536)] {
        let refused = writer.item(Opcode::Set, &vec![0; ext], &vec![0; key], b"v");
        assert_eq!(refused, Err(BatchWriteError::TooLong));
    }
    assert_eq!(Batch::requests(&out).unwrap().len(), 1);
}

#[test]
fn cut_bodies_are_refused_at_every_byte() {
    let bytes = [request(b"e", b"key", b"value"), request(b"", b"k", b"")].concat();
    for end in 1..bytes.len() {
        if end != 25 {
            let offset = if end < 25 { 0 } else { 25 };
            malformed(&bytes[..end], "batch item", offset, DecodeKind::Truncated);
        }
    }
}

#[test]
fn a_declared_length_beyond_the_body_is_refused() {
    let mut bytes = request(b"", b"k", b"v");
    bytes[12..16].copy_from_slice(&u32::MAX.to_be_bytes());
    malformed(&bytes, "batch item", 0, DecodeKind::Truncated);
}

#[test]
fn inner_headers_have_one_form() {
    let good = request(b"", b"k", b"v");
    for (at, byte, what, kind) in [
        (0, 0, "batch item", DecodeKind::OutOfRange),
        (2, 1, "batch item header", DecodeKind::OutOfRange),
        (7, 1, "batch item header", DecodeKind::OutOfRange),
        (8, 1, "batch item header", DecodeKind::Reserved),
        (8, 4, "batch item header", DecodeKind::Reserved),
        (8, 8, "batch item header", DecodeKind::Reserved),
    ] {
        let mut second = good.clone();
        second[at] = byte;
        malformed(&[good.clone(), second].concat(), what, good.len(), kind);
    }
    let mut unknown = good;
    unknown[3] = 99;
    let batch = Batch::requests(&unknown).unwrap();
    assert_eq!(
        batch.iter().next().unwrap().opcode,
        OpcodeByte(99),
        "the item's own error"
    );
}

proptest! {
    #[test]
    fn any_bytes_are_a_whole_body_or_an_error(
        mut bytes in prop::collection::vec(any::<u8>(), 0..100),
        valid in 0..4_usize,
    ) {
        let mut whole = many(valid);
        whole.append(&mut bytes);
        if let Ok(batch) = Batch::requests(&whole) {
            let items: Vec<_> = batch.iter().collect();
            prop_assert_eq!(items.len(), batch.len());
            let len: usize =
                items.iter().map(|i| 16 + i.ext.len() + i.key.len() + i.value.len()).sum();
            prop_assert_eq!(len, whole.len());
        }
    }
}
