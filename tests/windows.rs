//! Layers with a window, whose KV caches are rings: chunk sizes, long answers, sequences that are
//! cut back, hybrid execution, memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::path::Path;

use common::cache;
use common::engines::{devices, greedy, has_gpu, load, max_difference, tokens};
use tablm::cpu::CpuVariant;
use tablm::engine::{DeviceChoice, Engine, Event, LoadOptions, Prompt, TestSwitches, estimate};
use tablm::gpu::{AdapterHints, Gpu};
use tablm::kernels::CacheFormat;

/// A model of seven layers, six of them with a window of 40 tokens. Its rows of keys have 32
/// elements.
const MODEL: &str = "gemma3-pattern.gguf";
const WINDOW: usize = 40;
/// Length of the rings with chunks of at most half a window.
const RING: usize = 60;
/// Chunk with which a ring would not be shorter than the context of [`options`].
const NO_RING: u32 = 512;

fn options(device: DeviceChoice, chunk: u32) -> LoadOptions {
    LoadOptions {
        device,
        context_length: Some(500),
        chunk: Some(chunk),
        kv_format: Some(CacheFormat::F32),
        cpu_variant: Some(CpuVariant::Exact),
        ..LoadOptions::default()
    }
}

async fn open(options: LoadOptions) -> Engine {
    load(&cache::tiny(MODEL), options).await
}

/// Ids of a greedy answer.
async fn answer(engine: &mut Engine, prompt: &[u32], count: usize) -> Vec<u32> {
    let mut request = greedy(Prompt::Tokens(prompt.to_vec()), count);
    request.ignore_stop_tokens = true;
    engine.generate(&request, |_| {}).await.unwrap().token_ids
}

#[test]
fn chunk_size_does_not_change_logits_of_rings() {
    pollster::block_on(async {
        let tokens = tokens(333);
        for device in devices().await {
            let mut expected: Option<(Vec<f32>, u64)> = None;
            for chunk in [NO_RING, 200, 64, 33, 20, 7, 1] {
                let options = LoadOptions { all_logits: true, ..options(device, chunk) };
                let mut engine = open(options).await;
                let found = engine.logits(&tokens).await.unwrap();
                let bytes = engine.info().memory.state_bytes;
                let (expected, most_bytes) = expected.get_or_insert_with(|| (found.clone(), bytes));
                let difference = max_difference(expected, &found);
                assert!(difference < 1e-4, "{device:?}, chunk {chunk}: {difference}");
                assert_eq!(chunk != NO_RING, bytes < *most_bytes, "chunk {chunk}: {bytes}");
            }
        }
    });
}

#[test]
fn every_cpu_variant_attends_to_rings() {
    pollster::block_on(async {
        let tokens = tokens(333);
        for kv_format in CacheFormat::ALL {
            let logits = async |variant, chunk| {
                let options = LoadOptions {
                    cpu_variant: Some(variant),
                    kv_format: Some(kv_format),
                    ..options(DeviceChoice::Cpu, chunk)
                };
                open(options).await.logits(&tokens).await.unwrap()
            };
            for variant in CpuVariant::ALL.into_iter().filter(|variant| variant.is_available()) {
                let expected = logits(variant, NO_RING).await;
                for chunk in [60, 7, 1] {
                    let difference = max_difference(&expected, &logits(variant, chunk).await);
                    let what = format!("{} {kv_format:?}, chunk {chunk}", variant.name());
                    // Keys that differ in their last bit can round to different numbers.
                    let bound = if kv_format == CacheFormat::F32 { 1e-4 } else { 2e-2 };
                    assert!(difference < bound, "{what}: {difference}");
                }
            }
        }
    });
}

#[test]
fn long_answers_overwrite_rings_several_times() {
    pollster::block_on(async {
        for device in devices().await {
            let expected =
                answer(&mut open(options(device, NO_RING)).await, &tokens(50), 300).await;
            for (chunk, ahead) in [(16, 2), (7, 3), (1, 0)] {
                let test = TestSwitches { run_ahead: Some(ahead), ..TestSwitches::default() };
                let mut engine = open(LoadOptions { test, ..options(device, chunk) }).await;
                let found = answer(&mut engine, &tokens(50), 300).await;
                assert_eq!(found, expected, "{device:?}, chunk {chunk}");
            }
        }
    });
}

/// A sequence continues after it was cut back as far as its rings hold the window. Cut back
/// farther, it is read again.
#[test]
fn rings_limit_how_far_a_sequence_is_cut_back() {
    pollster::block_on(async {
        for device in devices().await {
            let mut fresh = open(options(device, NO_RING)).await;
            let mut engine = open(options(device, 16)).await;
            let first = tokens(200);
            let sequence = [&first[..], &answer(&mut engine, &first, 12).await].concat();
            // The answer's last token has not been read.
            let held = sequence.len() - 1;
            let oldest = held - (RING + 1 - WINDOW);
            for (length, reused) in
                [(held, held), (held - 3, held - 3), (oldest, oldest), (oldest - 1, 0), (90, 0)]
            {
                engine.reset();
                answer(&mut engine, &first, 12).await;
                let next = [&sequence[..length], &[251, 252]].concat();
                let what = format!("{device:?}, {length} tokens");
                check(&mut engine, &mut fresh, &next, reused, &what).await;
                // The sequence has now three tokens more, and no more than before it was cut back.
                if (oldest..=held - 3).contains(&length) {
                    let next = [&sequence[..oldest], &tokens(40)].concat();
                    check(&mut engine, &mut fresh, &next, oldest, &what).await;
                }
            }
        }
    });
}

/// Checks the answer to a prompt, of which `reused` tokens are not read again.
async fn check(engine: &mut Engine, fresh: &mut Engine, prompt: &[u32], reused: usize, what: &str) {
    fresh.reset();
    let expected = answer(fresh, prompt, 2).await;
    let mut request = greedy(Prompt::Tokens(prompt.to_vec()), 2);
    request.ignore_stop_tokens = true;
    engine.begin(&request).unwrap();
    let mut first = None;
    loop {
        match engine.next().await.unwrap() {
            Event::Prefill { done, .. } => _ = first.get_or_insert(done),
            Event::Token(_) => _ = first.get_or_insert(prompt.len()),
            Event::Done(completion) => {
                assert_eq!(completion.token_ids, expected, "{what}");
                break;
            }
        }
    }
    assert_eq!(first, Some(prompt.len().min(reused + 16)), "{what}");
}

#[test]
fn aborted_answers_leave_usable_rings() {
    pollster::block_on(async {
        for device in devices().await {
            let expected =
                answer(&mut open(options(device, NO_RING)).await, &tokens(100), 40).await;
            for (chunk, ahead) in [(16, 2), (1, 3)] {
                let test = TestSwitches { run_ahead: Some(ahead), ..TestSwitches::default() };
                let mut engine = open(LoadOptions { test, ..options(device, chunk) }).await;
                for steps in [1, 120, 137] {
                    let mut request = greedy(Prompt::Tokens(tokens(100)), 300);
                    request.ignore_stop_tokens = true;
                    engine.begin(&request).unwrap();
                    for _ in 0..steps {
                        engine.next().await.unwrap();
                    }
                    engine.stop();
                    assert!(matches!(engine.next().await.unwrap(), Event::Done(_)));
                    let found = answer(&mut engine, &tokens(100), 40).await;
                    assert_eq!(found, expected, "{device:?}, chunk {chunk}, {steps} steps");
                }
            }
        }
    });
}

/// Prompts and answers longer and shorter than the rings, so that all or a part of a ring moves
/// between the executors, whose rings differ in what they have overwritten.
#[test]
fn hybrid_execution_moves_rings_between_devices() {
    pollster::block_on(async {
        if !has_gpu().await {
            return;
        }
        for kv_format in CacheFormat::ALL {
            let with = |options| LoadOptions { kv_format: Some(kv_format), ..options };
            let mut engine = open(with(options(DeviceChoice::Hybrid, 16))).await;
            let mut fresh = open(with(options(DeviceChoice::Cpu, NO_RING))).await;
            let mut prompt = tokens(90);
            // Tokens of the answer, tokens cut off after it, and tokens of the next message.
            for (count, cut, message) in [
                (5, 0, 30),
                (100, 0, 1),
                (3, 2, 45),
                (30, 19, 20),
                (1, 0, 1),
                (12, 5, 70),
                (2, 0, 1),
            ] {
                fresh.reset();
                let expected = answer(&mut fresh, &prompt, count).await;
                let found = answer(&mut engine, &prompt, count).await;
                assert_eq!(found, expected, "{kv_format:?} after {} tokens", prompt.len());
                prompt.extend(found);
                prompt.truncate(prompt.len() - cut);
                prompt.extend((0..message).map(|i| 250 + i % 40));
            }
        }
    });
}

#[test]
fn estimated_state_is_that_of_rings() {
    let state_bytes = |path: &Path, context_length, kv_format| {
        let options = LoadOptions {
            context_length: Some(context_length),
            kv_format: Some(kv_format),
            ..LoadOptions::default()
        };
        let files = common::files::open(path);
        pollster::block_on(estimate(files, &options, None)).unwrap().memory.state_bytes
    };
    // Chunks have 64 rows. Keys and values of 32 elements, of four bytes.
    for (context, ring) in [(4096, 104), (32768, 104), (105, 104), (104, 104), (50, 50)] {
        let found = state_bytes(&cache::tiny(MODEL), context, CacheFormat::F32);
        assert_eq!(found, 2 * 128 * (6 * ring + u64::from(context)), "{context}");
    }
    // 15 of 18 layers of Gemma 3 270M have a window of 512 tokens. Rows of 256 elements.
    for context in [4096, 32768] {
        let found = state_bytes(&cache::gemma3(), context, CacheFormat::F16);
        assert_eq!(found, 2 * 512 * (15 * 768 + 3 * u64::from(context)), "{context}");
    }
}

#[test]
fn allocated_memory_equals_the_estimate() {
    pollster::block_on(async {
        if !has_gpu().await {
            return;
        }
        let options = options(DeviceChoice::WebGpu, 64);
        let report = Gpu::probe(&AdapterHints::default()).await.unwrap();
        let files = common::files::open(&cache::tiny(MODEL));
        let estimated = estimate(files, &options, Some(&report)).await.unwrap().memory;
        let memory = open(options).await.info().memory;
        assert_eq!(memory.peak_gpu_bytes, estimated.peak_gpu_bytes);
        assert_eq!(memory.state_bytes, estimated.state_bytes);
    });
}
