//! `session`: whatever an attacker without the keys does to sealed frames, the frames that are opened
//! are a prefix of the frames that were sent.

use kv_proto::Suite;

use super::input::Input;
use super::wire::{Way, open_all, pair, write_chosen};

pub(super) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    // Suite 0 authenticates nothing, so this says nothing about it.
    let suite = if input.byte().is_multiple_of(2) {
        Suite::Hmac
    } else {
        Suite::Encrypted
    };
    let (mut sealer, mut opener) = pair(suite, 1, Way::ToServer);
    let (_, mut honest) = pair(suite, 1, Way::ToServer);

    let mut frames = Vec::new();
    for _ in 0..input.below(6).saturating_add(1) {
        let mut frame = Vec::new();
        write_chosen(&mut input, &mut sealer, &mut frame);
        frames.push(frame);
    }
    let (sent, _, _) = open_all(&mut honest, &mut frames.concat());

    let mut foreign = foreign_frames(&mut input, suite);
    while !input.is_empty() {
        attack(&mut input, &mut frames, &mut foreign);
    }
    let (opened, _, _) = open_all(&mut opener, &mut frames.concat());
    assert!(
        sent.starts_with(&opened),
        "accepted {opened:?}, sent {sent:?}"
    );
}

/// Frames sealed for another session and for the other direction of this one.
fn foreign_frames(input: &mut Input<'_>, suite: Suite) -> Vec<Vec<u8>> {
    [(2, Way::ToServer), (1, Way::ToClient)]
        .into_iter()
        .map(|(session, way)| {
            let (mut sealer, _) = pair(suite, session, way);
            let mut frame = Vec::new();
            write_chosen(input, &mut sealer, &mut frame);
            frame
        })
        .collect()
}

/// One change to the frames under way.
fn attack(input: &mut Input<'_>, frames: &mut Vec<Vec<u8>>, foreign: &mut [Vec<u8>]) {
    let action = input.byte();
    let count = frames.len();
    let (at, other) = (
        input.below(count.clamp(1, 255)),
        input.below(count.clamp(1, 255)),
    );
    match action % 8 {
        0 if at < count => drop(frames.remove(at)),
        1 if count < 32 => frames.extend(frames.get(at).cloned()),
        2 if at < count && other < count => frames.swap(at, other),
        3 | 4 => flip(input, frames.get_mut(at)),
        5 if count < 32 => frames.insert(at, foreign.get(other % 2).cloned().unwrap_or_default()),
        6 => {
            if let Some(frame) = frames.get_mut(at) {
                frame.truncate(usize::from(input.short()).min(frame.len()));
            }
        }
        7 if count < 32 => {
            let len = input.below(64);
            frames.insert(at, input.take(len).to_vec());
        }
        _ => {}
    }
}

fn flip(input: &mut Input<'_>, frame: Option<&mut Vec<u8>>) {
    let at = usize::from(input.short());
    let bit = input.byte() % 8;
    if let Some(frame) = frame
        && let Some(at) = at.checked_rem(frame.len())
        && let Some(byte) = frame.get_mut(at)
    {
        *byte ^= 1 << bit;
    }
}
