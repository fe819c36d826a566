//! What the floor is asked: frames of the sizes of the native protocol, sent back as they are.
//!
//! A native read sends a short frame and gets a longer one; an echo sends one of the mean length, so
//! that as many bytes pass in both directions together.

use anyhow::{Context, Result, ensure};

use super::resp::consume;
use super::{Answer, Protocol, Slot};
use crate::workload::{Data, Request};

const SLOT: usize = 2;
/// What a reply to a read has besides its value: an extension with the version.
const VERSION_EXT: usize = 10;

/// The codec of one connection.
#[derive(Debug, Default)]
pub(crate) struct Echo {
    frame_bytes: usize,
    /// Of each slot, the frame that is on its way.
    sent: Vec<Vec<u8>>,
}

/// Bytes of a frame that stands for a read or a write of such a value.
fn frame_bytes(data: &Data) -> usize {
    kv_proto::PREFIX_LEN + (data.key_bytes() + data.value_bytes() + VERSION_EXT) / 2
}

impl Protocol for Echo {
    const ALPN: Option<&'static [u8]> = None;
    const BATCHES: bool = false;

    fn open(&mut self, _: Option<[u8; 32]>, _: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }

    fn opened(&mut self, _: &mut &mut [u8], _: &mut Vec<u8>) -> Result<bool> {
        Ok(true)
    }

    #[inline]
    fn request(
        &mut self,
        slot: Slot,
        request: &Request,
        data: &Data,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        ensure!(request.count == 1, "there are no batches of echoes");
        self.frame_bytes = frame_bytes(data);
        let index = usize::from(slot);
        if self.sent.len() <= index {
            self.sent.resize(index + 1, Vec::new());
        }
        let frame = self.sent.get_mut(index).context("slot")?;
        frame.clear();
        frame.extend_from_slice(&slot.to_be_bytes());
        data.write_key(request.first, frame);
        frame.resize(self.frame_bytes, b'.');
        out.extend_from_slice(frame);
        Ok(())
    }

    #[inline]
    fn replies(
        &mut self,
        input: &mut &mut [u8],
        _: &mut Vec<u8>,
        each: &mut impl FnMut(Slot, Answer<'_>),
    ) -> Result<()> {
        let mut rest: &[u8] = input;
        while self.frame_bytes > SLOT
            && let Some((frame, after)) = rest.split_at_checked(self.frame_bytes)
        {
            let slot = frame
                .first_chunk::<SLOT>()
                .context("a frame without a slot")?;
            let slot = Slot::from_be_bytes(*slot);
            let sent = self
                .sent
                .get(usize::from(slot))
                .context("an echo of nothing")?;
            each(slot, Answer::Compared(sent == frame));
            rest = after;
        }
        let used = input.len() - rest.len();
        consume(input, used);
        Ok(())
    }

    fn close(&mut self, _: &mut Vec<u8>) {}
}
