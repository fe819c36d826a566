//! What the man in the middle does, and to which frames.

use std::collections::BTreeMap;

use crate::rng::Rng;

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

impl Side {
    pub(super) const fn index(self) -> usize {
        match self {
            Self::ToServer => 0,
            Self::ToClient => 1,
        }
    }
}

/// What is done to one frame. Numbers that are too large are taken modulo what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not passed on.
    Drop,
    /// Its first bytes are not passed on.
    DropBytes(usize),
    /// It is passed on twice.
    Duplicate,
    /// The next one goes first; if none comes soon, it goes after all.
    Swap,
    /// It is passed on, and then an earlier frame of the same direction again.
    Replay(usize),
    /// It goes back to its sender, and not on.
    Reflect,
    /// A frame of another session goes in its place.
    Splice(usize),
    /// One bit of it is turned.
    Flip(usize),
    /// One bit of its body is turned and the tag made right again as far as that takes no key: the
    /// CRC of suite 0. For canaries.
    FlipAndMend(usize),
    /// Only its first bytes are passed on, and then the end of the stream.
    Cut(usize),
    /// It is passed on only after [`super::Proxy::resume`].
    Stall,
    /// Both connections end.
    Kill,
}

/// Faults by direction and number of the frame, which counts from 0 (HELLO, WELCOME).
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    /// The seed it was made from, if it was.
    pub seed: Option<u64>,
    faults: [BTreeMap<usize, Fault>; 2],
}

impl Schedule {
    /// Everything passes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Does this to that frame.
    #[must_use]
    pub fn with(mut self, side: Side, frame: usize, fault: Fault) -> Self {
        if let Some(faults) = self.faults.get_mut(side.index()) {
            faults.insert(frame, fault);
        }
        self
    }

    /// One to three faults of any kind but [`Fault::FlipAndMend`] and [`Fault::Stall`] among the first
    /// `frames` frames of both directions.
    #[must_use]
    pub fn random(seed: u64, frames: usize) -> Self {
        let mut rng = Rng::new(seed);
        let mut schedule = Self {
            seed: Some(seed),
            ..Self::default()
        };
        for _ in 0..=rng.below(3) {
            let side = match rng.below(2) {
                0 => Side::ToServer,
                _ => Side::ToClient,
            };
            let frame = rng.below(frames);
            let detail = rng.below(1 << 20);
            let fault = match rng.below(10) {
                0 => Fault::Drop,
                1 => Fault::DropBytes(detail),
                2 => Fault::Duplicate,
                3 => Fault::Swap,
                4 => Fault::Replay(detail),
                5 => Fault::Reflect,
                6 => Fault::Splice(detail),
                7 => Fault::Flip(detail),
                8 => Fault::Cut(detail),
                _ => Fault::Kill,
            };
            schedule = schedule.with(side, frame, fault);
        }
        schedule
    }

    pub(super) fn fault(&self, side: Side, frame: usize) -> Option<Fault> {
        self.faults.get(side.index())?.get(&frame).copied()
    }
}
