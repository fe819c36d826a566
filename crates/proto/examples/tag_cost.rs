//! What a tag costs: the `hmac` crate with a cloned state, a state made per message, and the kept
//! states of [`kv_proto::MacKey`]. Prints nanoseconds per tag, the median of several rounds.
//!
//! `cargo run --release -p kv-proto --example tag_cost`

#![expect(
    clippy::disallowed_methods,
    reason = "an example that measures reads the clock"
)]

use std::hint::black_box;
use std::time::Instant;

use hmac::{Hmac, KeyInit, Mac};
use kv_proto::MacKey;
use sha2::Sha256;

const ROUNDS: usize = 9;
const PER_ROUND: u32 = 200_000;

fn median(mut each: impl FnMut()) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            for _ in 0..PER_ROUND {
                each();
            }
            began.elapsed().as_secs_f64() * 1e9 / f64::from(PER_ROUND)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds.get(ROUNDS / 2).copied().unwrap_or(f64::NAN)
}

#[expect(clippy::print_stdout, reason = "the output is what the example is for")]
fn main() {
    println!(
        "{:>8} {:>14} {:>14} {:>14}",
        "bytes", "made per tag", "cloned state", "kept states"
    );
    let key = [7u8; 32];
    let kept = MacKey::new(&key);
    let Ok(state) = Hmac::<Sha256>::new_from_slice(&key) else {
        return;
    };
    for len in [24usize, 40, 55, 98, 119, 1_024] {
        let message = vec![1u8; len];
        let made = median(|| {
            if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(black_box(&key)) {
                mac.update(black_box(&message));
                black_box(mac.finalize());
            }
        });
        let cloned = median(|| {
            let mut mac = state.clone();
            mac.update(black_box(&message));
            black_box(mac.finalize());
        });
        let kept = median(|| {
            let (front, body) = message.split_first_chunk::<24>().unwrap_or((&[0; 24], &[]));
            black_box(kept.tag_frame(black_box(front), black_box(body)));
        });
        println!("{len:>8} {made:>14.1} {cloned:>14.1} {kept:>14.1}");
    }
}
