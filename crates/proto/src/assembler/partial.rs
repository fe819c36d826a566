//! One message under way: what was declared, what came, what it holds.

#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::as_conversions)
)]

use bytes::Bytes;

use super::{Assembled, AssemblerError, AssemblerLimits, Fragment};
use crate::header::Flags;
use crate::opcode::OpcodeByte;

/// Invariants: `value.len() == received` while kept, `value.capacity() <= total` as far as the
/// allocator is exact, `received < total` between calls.
#[derive(Debug)]
pub(super) struct Partial {
    opcode: OpcodeByte,
    flags: Flags,
    total: usize,
    received: usize,
    fragments: usize,
    charged: usize,
    pub(super) begun_ms: u64,
    pub(super) progress_ms: u64,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Kept {
        head: Bytes,
        ext_len: usize,
        value: Vec<u8>,
    },
    /// Refused: counted, not kept.
    Swallowed,
}

impl Partial {
    /// A message that holds nothing yet; `append` takes its first fragment too.
    pub(super) fn new(now_ms: u64, total: usize, first: &Fragment<'_>) -> Self {
        Self {
            opcode: first.opcode,
            flags: first.flags,
            total,
            received: 0,
            fragments: 0,
            charged: 0,
            begun_ms: now_ms,
            progress_ms: now_ms,
            content: Content::Kept {
                head: Bytes::new(),
                ext_len: 0,
                value: Vec::new(),
            },
        }
    }

    /// Bytes held: what is allocated, and no less than the charge of the fragments that came.
    pub(super) fn retained(&self) -> usize {
        match &self.content {
            Content::Kept { head, value, .. } => self
                .charged
                .max(head.len().saturating_add(value.capacity())),
            Content::Swallowed => 0,
        }
    }

    /// Whether its fragments are only counted.
    pub(super) fn is_swallowed(&self) -> bool {
        matches!(self.content, Content::Swallowed)
    }

    /// Gives back what is held; the fragments to come are only counted.
    pub(super) fn swallow(&mut self) {
        self.content = Content::Swallowed;
        self.charged = 0;
    }

    /// Whether `fragment` may follow. Changes nothing.
    pub(super) fn check(
        &self,
        fragment: &Fragment<'_>,
        limits: &AssemblerLimits,
    ) -> Result<(), AssemblerError> {
        let request_id = fragment.request_id;
        let first = self.fragments == 0;
        if fragment.opcode != self.opcode || fragment.flags != self.flags {
            return Err(AssemblerError::Changed { request_id });
        }
        if !first && fragment.head_len() > 0 {
            return Err(AssemblerError::Changed { request_id });
        }
        let len = fragment.value.len();
        let min = limits.fragment_bytes_min(fragment.more);
        if len < min {
            return Err(AssemblerError::FragmentTooSmall { len, min });
        }
        // One that is not the last leaves room for the last.
        let count = self
            .fragments
            .saturating_add(if fragment.more { 2 } else { 1 });
        if count > limits.fragments_max {
            return Err(AssemblerError::TooManyFragments {
                max: limits.fragments_max,
            });
        }
        let received = self.received.saturating_add(len);
        match (received.cmp(&self.total), fragment.more) {
            (core::cmp::Ordering::Less, true) | (core::cmp::Ordering::Equal, false) => Ok(()),
            (core::cmp::Ordering::Less, false) => {
                Err(AssemblerError::ShorterThanDeclared { request_id })
            }
            (core::cmp::Ordering::Equal | core::cmp::Ordering::Greater, _) => {
                Err(AssemblerError::LongerThanDeclared { request_id })
            }
        }
    }

    /// What [`retained`](Self::retained) will be once `fragment` is taken.
    pub(super) fn retained_with(&self, fragment: &Fragment<'_>, limits: &AssemblerLimits) -> usize {
        match &self.content {
            Content::Kept { head, value, .. } => {
                let head = if self.fragments == 0 {
                    fragment.head_len()
                } else {
                    head.len()
                };
                let capacity = self.capacity_with(value, fragment.value.len());
                self.charged_with(fragment, limits)
                    .max(head.saturating_add(capacity))
            }
            Content::Swallowed => 0,
        }
    }

    fn charged_with(&self, fragment: &Fragment<'_>, limits: &AssemblerLimits) -> usize {
        let len = fragment.value.len().saturating_add(fragment.head_len());
        self.charged
            .saturating_add(len.max(limits.fragment_charge_min))
    }

    /// The buffer doubles as bytes come and never exceeds the declared length, so it is at most
    /// twice what was received and a message is copied at most twice.
    fn capacity_with(&self, value: &Vec<u8>, len: usize) -> usize {
        let needed = value.len().saturating_add(len);
        if needed <= value.capacity() {
            return value.capacity();
        }
        needed
            .max(value.capacity().saturating_mul(2))
            .min(self.total)
    }

    /// Takes a fragment that [`check`](Self::check) allowed.
    pub(super) fn append(
        &mut self,
        now_ms: u64,
        fragment: &Fragment<'_>,
        limits: &AssemblerLimits,
    ) -> Result<(), AssemblerError> {
        let charged = self.charged_with(fragment, limits);
        let first = self.fragments == 0;
        let len = fragment.value.len();
        let total = self.total;
        if let Content::Kept {
            head,
            ext_len,
            value,
        } = &mut self.content
        {
            let needed = value.len().saturating_add(len);
            if needed > value.capacity() {
                let capacity = needed.max(value.capacity().saturating_mul(2)).min(total);
                value
                    .try_reserve_exact(capacity.saturating_sub(value.len()))
                    .map_err(|_| AssemblerError::OutOfMemory)?;
            }
            value.extend_from_slice(fragment.value);
            if first {
                *ext_len = fragment.ext.len();
                *head = [fragment.ext, fragment.key].concat().into();
            }
            self.charged = charged;
        }
        self.received = self.received.saturating_add(len);
        self.fragments = self.fragments.saturating_add(1);
        self.progress_ms = now_ms;
        Ok(())
    }

    /// The whole message, or nothing when it was refused on the way.
    pub(super) fn finish(self, request_id: u32) -> Option<Assembled> {
        let Content::Kept {
            mut head,
            ext_len,
            value,
        } = self.content
        else {
            return None;
        };
        let ext = head.split_to(ext_len.min(head.len()));
        Some(Assembled {
            request_id,
            opcode: self.opcode,
            flags: self.flags,
            ext,
            key: head,
            value: value.into(),
        })
    }

    #[cfg(debug_assertions)]
    pub(super) fn is_consistent(&self) -> bool {
        let kept = match &self.content {
            Content::Kept { value, .. } => value.len() == self.received,
            Content::Swallowed => self.charged == 0,
        };
        kept && self.received < self.total && self.fragments > 0
    }
}
