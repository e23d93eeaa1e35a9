//! How fast threads read memory: what a token's weights are compared with, each of which it reads once.

use std::hint::black_box;

use web_time::Instant;

use super::Threads;

/// Words that are read: many times what caches hold; and those of a part.
const WORDS: usize = 1 << 25;
const PART_WORDS: usize = 1 << 16;
/// Words that are summed side by side.
const LANES: usize = 32;
/// How often they are read, after once to have them there; the quickest counts.
const RUNS: usize = 5;

/// Bytes in a second.
pub(super) fn measure(threads: &Threads) -> f64 {
    let words = vec![1u64; WORDS];
    let mut quickest = f64::INFINITY;
    for run in 0..=RUNS {
        let started = Instant::now();
        threads.each(words.chunks(PART_WORDS), |part| {
            black_box(sum(part));
        });
        if run > 0 {
            quickest = quickest.min(started.elapsed().as_secs_f64());
        }
    }
    size_of_val(&words[..]) as f64 / quickest
}

fn sum(words: &[u64]) -> u64 {
    let mut sums = [0u64; LANES];
    for words in words.as_chunks::<LANES>().0 {
        for (sum, word) in sums.iter_mut().zip(words) {
            *sum = sum.wrapping_add(*word);
        }
    }
    sums.into_iter().fold(0, u64::wrapping_add)
}
