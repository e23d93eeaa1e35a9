//! Memory bandwidth of the threads: the roofline of a decode step, which reads each weight once.

use std::hint::black_box;

use web_time::Instant;

use super::threads::Threads;

/// Words read per run, many times the size of caches.
const WORDS: usize = 1 << 25;
/// Words of a task.
const TASK_WORDS: usize = 1 << 16;
/// Independent partial sums.
const LANES: usize = 32;
/// Measured runs, after a warm-up; the fastest counts.
const RUNS: usize = 5;

/// Measures how many bytes per second all threads together read.
pub(super) fn measure(threads: &Threads) -> f64 {
    let words = vec![1u64; WORDS];
    let mut fastest_seconds = f64::INFINITY;
    for run in 0..=RUNS {
        let started = Instant::now();
        threads.for_each(words.chunks(TASK_WORDS), |chunk| {
            black_box(sum(chunk));
        });
        if run > 0 {
            fastest_seconds = fastest_seconds.min(started.elapsed().as_secs_f64());
        }
    }
    size_of_val(&words[..]) as f64 / fastest_seconds
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
