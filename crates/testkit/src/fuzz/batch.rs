//! `batch`: inner frames are found whole, in order and without a gap, or the body is refused.

use kv_proto::{Batch, BatchWriter, HEADER_LEN, Opcode};

pub(super) fn run(data: &[u8]) {
    check(data, Batch::requests(data).ok(), true);
    check(data, Batch::replies(data).ok(), false);
}

fn check(data: &[u8], batch: Option<Batch<'_>>, requests: bool) {
    let Some(batch) = batch else { return };
    let mut count = 0_usize;
    let mut bytes = 0_usize;
    let mut all_known = true;
    let mut again = Vec::new();
    let mut writer = if requests {
        BatchWriter::requests(&mut again)
    } else {
        BatchWriter::replies(&mut again)
    };
    for item in &batch {
        count = count.saturating_add(1);
        bytes = bytes
            .saturating_add(HEADER_LEN)
            .saturating_add(item.ext.len())
            .saturating_add(item.key.len())
            .saturating_add(item.value.len());
        match Opcode::try_from(item.opcode) {
            Ok(opcode) => {
                let written = writer.item(opcode, item.ext, item.key, item.value);
                assert!(written.is_ok(), "read and not written");
            }
            Err(_) => all_known = false,
        }
    }
    assert_eq!((count, bytes), (batch.len(), data.len()));
    if all_known {
        assert_eq!(again, data, "written differently");
    }
}
