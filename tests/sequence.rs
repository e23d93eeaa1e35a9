//! What a sequence must do however it is cut: chunks, resets, aborted answers, many chats.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::rc::Rc;

use serde_json::json;

use common::cache;
use common::engines::{devices, greedy, load};
use common::gguf::{Gguf, tiny_llama};
use common::nemotron_h::tiny_nemotron_h;
use tablm::cpu::CpuVariant;
use tablm::engine::{
    Completion, DeviceChoice, Engine, Event, GenerateRequest, LoadOptions, ProfileRequest, Prompt,
};
use tablm::error::Code;
use tablm::formats::Format;
use tablm::kernels::{CacheFormat, Step};
use tablm::text::sampler::SamplerOptions;
use tablm::weights::source::MemorySource;

const TINY: &str = "tiny-Q4_K-256.gguf";

fn tokens(count: u32) -> Vec<u32> {
    (0..count).map(|i| (i * 37 + 11) % 250).collect()
}

fn options(device: DeviceChoice) -> LoadOptions {
    // Rounded keys would differ by a bit of theirs where numbers before differ by a bit of f32's.
    let kv_format = Some(CacheFormat::F32);
    let cpu_variant = Some(CpuVariant::Exact);
    LoadOptions {
        device,
        context_length: Some(256),
        kv_format,
        cpu_variant,
        ..LoadOptions::default()
    }
}

fn furthest(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn chunks_of_any_size_give_the_same_logits() {
    pollster::block_on(async {
        let tokens = tokens(150);
        for device in devices().await {
            // One token at a time through the real model takes long, and shows no more.
            let whole = [(cache::derived(TINY), true, 150), (cache::smollm2(), false, 34)];
            for (path, all_logits, count) in whole {
                let mut expected: Option<Vec<f32>> = None;
                for chunk in [count, 64, 7, 1].into_iter().filter(|chunk| *chunk <= count) {
                    let options = LoadOptions { chunk: Some(chunk), all_logits, ..options(device) };
                    let found =
                        load(&path, options).await.logits(&tokens[..count as usize]).await.unwrap();
                    let expected = expected.get_or_insert_with(|| found.clone());
                    let distance = furthest(expected, &found);
                    assert!(distance < 1e-4, "{device:?}, chunk {chunk}: {distance} apart");
                }
            }
        }
    });
}

async fn ids(engine: &mut Engine, prompt: Vec<u32>) -> Vec<u32> {
    engine.generate(&greedy(Prompt::Tokens(prompt), 12), |_| {}).await.unwrap().token_ids
}

#[test]
fn a_reset_engine_repeats_itself() {
    pollster::block_on(async {
        for device in devices().await {
            let mut engine = load(&cache::derived(TINY), options(device)).await;
            let first = engine.logits(&tokens(70)).await.unwrap();
            engine.logits(&tokens(33)).await.unwrap();
            assert_eq!(engine.logits(&tokens(70)).await.unwrap(), first);
            let answer = ids(&mut engine, tokens(20)).await;
            engine.reset();
            assert_eq!(ids(&mut engine, tokens(20)).await, answer);
        }
    });
}

#[test]
fn a_profile_counts_every_kernel_and_leaves_the_engine_as_good_as_new() {
    pollster::block_on(async {
        for device in devices().await {
            let mut engine = load(&cache::derived(TINY), options(device)).await;
            let expected = engine.logits(&tokens(70)).await.unwrap();
            let before = engine.info();
            let profile = engine.profile_briefly().await.unwrap();
            let [token, prompt] = &profile.steps[..] else {
                panic!("{} steps", profile.steps.len())
            };
            assert_eq!((token.rows, token.position, prompt.rows, prompt.position), (1, 255, 64, 0));
            for step in &profile.steps {
                let shares: f64 = step.kernels.iter().map(|kernel| kernel.time_share).sum();
                assert!((shares - 1.0).abs() < 1e-6 && step.whole_us > 0.0, "{device:?}: {step:?}");
                let read: u64 = step.kernels.iter().map(|kernel| kernel.bytes).sum();
                assert!(read >= before.step.weight_bytes, "{device:?}: {read} bytes");
                let operations: u64 = step.kernels.iter().map(|kernel| kernel.operations).sum();
                assert!(operations > u64::from(step.rows) * 100_000, "{device:?}: {operations}");
            }
            assert_eq!(
                engine.info().memory.peak_gpu_bytes,
                before.memory.peak_gpu_bytes,
                "{device:?}"
            );
            assert_eq!(engine.logits(&tokens(70)).await.unwrap(), expected, "{device:?}");

            // Only a chunk multiplies matrices, and no step whatever that is.
            let steps = vec![Step { position: 0, rows: 1 }, Step { position: 0, rows: 64 }];
            let only = |name: &str| ProfileRequest {
                steps: steps.clone(),
                runs: 1,
                limit_ms: 0.0,
                kernels: name.to_owned(),
            };
            let found = engine.profile(&only("matmul")).await.unwrap().steps;
            assert!(
                found[0].kernels.is_empty() && !found[1].kernels.is_empty(),
                "{device:?}: {found:?}"
            );
            let error = engine.profile(&only("nothing")).await.unwrap_err();
            assert!(
                error.message().contains("kernels") && error.message().contains("nothing"),
                "{error:?}"
            );
        }
    });
}

#[test]
fn a_shared_beginning_is_not_read_again() {
    pollster::block_on(async {
        for device in devices().await {
            let mut engine = load(&cache::derived(TINY), options(device)).await;
            let fresh = ids(&mut engine, tokens(100)).await;
            engine.reset();
            ids(&mut engine, tokens(90)).await;
            let completion =
                engine.generate(&greedy(Prompt::Tokens(tokens(100)), 12), |_| {}).await.unwrap();
            assert_eq!(completion.token_ids, fresh, "{device:?}");
        }
    });
}

#[test]
fn an_aborted_answer_leaves_the_engine_usable() {
    pollster::block_on(async {
        for device in devices().await {
            let options = LoadOptions { chunk: Some(16), ..options(device) };
            let mut engine = load(&cache::derived(TINY), options).await;
            let expected = ids(&mut engine, tokens(100)).await;
            // During prefill, and after some tokens.
            for steps in [1, 9] {
                engine.reset();
                engine.begin(&greedy(Prompt::Tokens(tokens(100)), 50)).unwrap();
                for _ in 0..steps {
                    engine.next().await.unwrap();
                }
                engine.stop();
                let Event::Done(completion) = engine.next().await.unwrap() else {
                    panic!("expected the end")
                };
                assert_eq!(completion.finish_reason, "abort");
                assert_eq!(
                    ids(&mut engine, tokens(100)).await,
                    expected,
                    "{device:?} after {steps} steps"
                );
            }
            // A request that is dropped in the middle.
            engine.begin(&greedy(Prompt::Tokens(tokens(60)), 50)).unwrap();
            engine.next().await.unwrap();
            assert_eq!(
                ids(&mut engine, tokens(100)).await,
                expected,
                "{device:?} after a dropped request"
            );
        }
    });
}

#[test]
fn a_hundred_chats_take_no_more_memory() {
    pollster::block_on(async {
        for device in devices().await {
            let mut engine = load(&cache::derived(TINY), options(device)).await;
            let held =
                |engine: &Engine| (engine.info().memory.peak_gpu_bytes, engine.info().pipelines);
            let before = held(&engine);
            for i in 0..100 {
                ids(&mut engine, tokens(5 + i % 40)).await;
            }
            assert_eq!(held(&engine), before);
        }
    });
}

#[test]
fn the_context_has_an_end() {
    pollster::block_on(async {
        let mut engine = load(&cache::derived(TINY), options(DeviceChoice::Cpu)).await;
        let error = engine.begin(&greedy(Prompt::Tokens(tokens(257)), 1)).unwrap_err();
        assert_eq!(error.code(), Code::ContextFull);
        assert!(error.message().contains("257") && error.message().contains("256"), "{error}");
        let completion =
            engine.generate(&greedy(Prompt::Tokens(tokens(250)), 50), |_| {}).await.unwrap();
        assert_eq!((completion.finish_reason, completion.token_ids.len()), ("length", 7));
    });
}

#[test]
fn impossible_requests_are_refused() {
    pollster::block_on(async {
        let mut engine = load(&cache::derived(TINY), options(DeviceChoice::Cpu)).await;
        let cases = [
            greedy(Prompt::Tokens(Vec::new()), 1),
            greedy(Prompt::Tokens(vec![512]), 1),
            greedy(Prompt::Tokens(vec![u32::MAX]), 1),
            greedy(Prompt::Tokens(vec![1]), 0),
            greedy(
                Prompt::Chat {
                    messages: json!("hello"),
                    tools: None,
                    thinking: None,
                    variables: serde_json::Map::new(),
                },
                1,
            ),
        ];
        for request in cases {
            let error = engine.begin(&request).unwrap_err();
            assert_eq!(error.code(), Code::InvalidRequest, "{request:?}: {error}");
        }
        assert_eq!(engine.next().await.unwrap_err().code(), Code::InvalidRequest);
    });
}

/// A model with state that cannot be cut, and with a cache beside it.
async fn hybrid(pattern: &str, options: LoadOptions) -> Engine {
    let file = MemorySource::new("tiny.gguf", tiny_nemotron_h(pattern).bytes());
    Engine::load(vec![Rc::new(file)], &options, &mut |_| {}).await.unwrap()
}

/// Logits and state, each a part of its largest number away from the expected at most.
fn assert_same(found: &[Vec<f32>], expected: &[Vec<f32>], what: &str) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        let size = expected.iter().fold(0.0f32, |size, word| size.max(word.abs()));
        let distance = furthest(found, expected);
        assert!(size > 0.0 && distance < 1e-4 * size, "{what}: {distance} of {size} apart");
    }
}

/// Logits, then every buffer of the state.
async fn logits_and_state(engine: &mut Engine, tokens: &[u32]) -> Vec<Vec<f32>> {
    let logits = engine.logits(tokens).await.unwrap();
    let mut all = engine.state().await.unwrap();
    all.insert(0, logits);
    all
}

#[test]
fn a_scan_by_chunks_of_any_size_is_one_by_tokens() {
    pollster::block_on(async {
        let mut expected: Option<Vec<Vec<f32>>> = None;
        for device in devices().await {
            for chunk in [1, 7, 64, 200] {
                let options =
                    LoadOptions { chunk: Some(chunk), all_logits: true, ..options(device) };
                let found =
                    logits_and_state(&mut hybrid("M-*M", options).await, &tokens(200)).await;
                let expected = expected.get_or_insert_with(|| found.clone());
                assert_same(&found, expected, &format!("{device:?}, chunk {chunk}"));
            }
        }
    });
}

#[test]
fn a_scan_of_4000_tokens_does_not_drift() {
    pollster::block_on(async {
        let tokens = tokens(4000);
        let mut expected: Option<Vec<Vec<f32>>> = None;
        for device in devices().await {
            for chunk in [512, 1] {
                let context_length = Some(4000);
                let options = LoadOptions { chunk: Some(chunk), context_length, ..options(device) };
                let found = logits_and_state(&mut hybrid("M", options).await, &tokens).await;
                let expected = expected.get_or_insert_with(|| found.clone());
                assert_same(&found, expected, &format!("{device:?}, chunk {chunk}"));
            }
        }
    });
}

/// State that cannot be cut is kept for a prompt that goes on from its end, and for no other.
#[test]
fn a_hybrid_answers_as_a_new_one_whatever_came_before() {
    pollster::block_on(async {
        for device in devices().await {
            let options = LoadOptions { chunk: Some(16), ..options(device) };
            let mut engine = hybrid("M-*M", options).await;
            let prompt = tokens(40);
            let answer = ids(&mut engine, prompt.clone()).await;
            // The last token of the answer was never fed.
            let past = [&prompt[..], &answer[..11]].concat();
            let longer = [&past[..], &tokens(20)].concat();
            let other = [&prompt[..30], &[5, 6, 7]].concat();
            for (next, is_kept) in
                [(&longer, true), (&other, false), (&past, false), (&prompt, false)]
            {
                engine.reset();
                let fresh = ids(&mut engine, next.clone()).await;
                engine.reset();
                assert_eq!(ids(&mut engine, prompt.clone()).await, answer);
                engine.begin(&greedy(Prompt::Tokens(next.clone()), 12)).unwrap();
                let first = engine.next().await.unwrap();
                let expected = if is_kept { past.len() + 16 } else { 16 };
                assert!(
                    matches!(first, Event::Prefill { done, .. } if done == expected),
                    "{first:?}"
                );
                let found = loop {
                    if let Event::Done(completion) = engine.next().await.unwrap() {
                        break completion.token_ids;
                    }
                };
                assert_eq!(found, fresh, "{device:?}");
            }
            // A request that is dropped, and one that is aborted, in the middle of the prompt.
            for stops in [false, true] {
                engine.begin(&greedy(Prompt::Tokens(tokens(60)), 5)).unwrap();
                engine.next().await.unwrap();
                if stops {
                    engine.stop();
                    engine.next().await.unwrap();
                }
                assert_eq!(ids(&mut engine, prompt.clone()).await, answer, "{device:?}");
            }
        }
    });
}

/// An answer, and what the engine holds and says afterwards.
struct Told {
    ids: Vec<u32>,
    text: String,
    finish_reason: &'static str,
    later: Vec<u32>,
    state: Vec<Vec<f32>>,
}

/// Generates, with an abort after so many tokens if at all, and then goes on from there.
async fn tell(engine: &mut Engine, request: &GenerateRequest, abort_after: Option<usize>) -> Told {
    engine.reset();
    engine.begin(request).unwrap();
    let mut count = 0;
    let completion = loop {
        match engine.next().await.unwrap() {
            Event::Prefill { .. } => {}
            Event::Token(_) => count += 1,
            Event::Done(completion) => break completion,
        }
        if abort_after == Some(count) {
            engine.stop();
        }
    };
    let Completion { token_ids, text, finish_reason, prompt_token_ids, .. } = *completion;
    let mut longer = [prompt_token_ids, token_ids.clone(), tokens(5)].concat();
    longer.truncate(85);
    let later = GenerateRequest { ignore_stop_tokens: true, ..greedy(Prompt::Tokens(longer), 12) };
    let later = engine.generate(&later, |_| {}).await.unwrap().token_ids;
    Told { ids: token_ids, text, finish_reason, later, state: engine.state().await.unwrap() }
}

async fn running_ahead(file: &Gguf, device: DeviceChoice, depth: usize) -> Engine {
    let (chunk, context_length, run_ahead) = (Some(16), Some(100), Some(depth));
    let cpu_variant = Some(CpuVariant::Exact);
    let options = LoadOptions {
        device,
        chunk,
        context_length,
        run_ahead,
        cpu_variant,
        ..LoadOptions::default()
    };
    let file = MemorySource::new("tiny.gguf", file.clone().bytes());
    Engine::load(vec![Rc::new(file)], &options, &mut |_| {}).await.unwrap()
}

/// Whether steps run ahead or not, whether the GPU chooses or the host does, and whether the CPU takes over
/// after the prompt: the same answers, however they end, and the same after them.
#[test]
fn running_ahead_changes_nothing() {
    pollster::block_on(async {
        if devices().await.len() == 1 {
            return;
        }
        for file in [tiny_llama(64, Format::F32), tiny_nemotron_h("M-*M")] {
            let length = GenerateRequest {
                ignore_stop_tokens: true,
                ..greedy(Prompt::Tokens(tokens(40)), 20)
            };
            let mut host = running_ahead(&file, DeviceChoice::Cpu, 0).await;
            let answer = host.generate(&length, |_| {}).await.unwrap();
            // One that comes for the first time, with more after it.
            let end = (5..15)
                .map(|i| answer.token_ids[i])
                .find(|id| !answer.token_ids[..5].contains(id))
                .unwrap();
            let piece: String =
                answer.text.chars().skip(answer.text.chars().count() / 2).take(2).collect();
            let file = file.u32("tokenizer.ggml.eot_token_id", end);
            let mut engines = Vec::new();
            let devices =
                [DeviceChoice::Cpu, DeviceChoice::Gpu, DeviceChoice::Gpu, DeviceChoice::Shared];
            for (device, depth) in devices.into_iter().zip([0, 0, 2, 0]) {
                engines.push(running_ahead(&file, device, depth).await);
            }
            let penalties = SamplerOptions {
                frequency_penalty: 2.0,
                repetition_penalty: 1.25,
                logit_bias: vec![(end, -100.0), (answer.token_ids[0], 1.0)],
                ..length.sampling.clone()
            };
            let drawn = SamplerOptions {
                seed: 9,
                top_k: 40,
                top_p: 0.9,
                temperature: 0.8,
                ..SamplerOptions::default()
            };
            let cases = [
                ("length", "length", length.clone(), None),
                (
                    "end token",
                    "stop",
                    GenerateRequest { ignore_stop_tokens: false, ..length.clone() },
                    None,
                ),
                (
                    "end of the context",
                    "length",
                    GenerateRequest { max_tokens: None, ..length.clone() },
                    None,
                ),
                (
                    "stop string",
                    "stop",
                    GenerateRequest { stop: vec![piece], ..length.clone() },
                    None,
                ),
                ("abort", "abort", length.clone(), Some(7)),
                (
                    "penalties",
                    "length",
                    GenerateRequest { sampling: penalties, ..length.clone() },
                    None,
                ),
                ("drawn", "length", GenerateRequest { sampling: drawn, ..length.clone() }, None),
            ];
            for (name, reason, request, abort_after) in cases {
                let mut told = Vec::new();
                for engine in &mut engines {
                    told.push(tell(engine, &request, abort_after).await);
                }
                let expected = &told[0];
                assert!(expected.finish_reason == reason && expected.ids.len() > 4, "{name}");
                for (found, how) in
                    told[1..].iter().zip(["0 steps ahead", "2 steps ahead", "shared"])
                {
                    let what = format!("{name}, {how}");
                    assert_eq!(found.ids, expected.ids, "{what}");
                    assert_eq!(found.text, expected.text, "{what}");
                    assert_eq!(found.finish_reason, expected.finish_reason, "{what}");
                    assert_eq!(found.later, expected.later, "{what}");
                    assert_same(&found.state, &told[1].state, &what);
                }
            }
        }
    });
}

/// What one executor has made, the other goes on with, to the bit: prompts on the GPU, single tokens on the CPU.
#[test]
fn what_changes_hands_stays_as_it_is() {
    pollster::block_on(async {
        if devices().await.len() == 1 {
            return;
        }
        for kv_format in CacheFormat::ALL {
            let device = DeviceChoice::Shared;
            let options =
                LoadOptions { kv_format: Some(kv_format), chunk: Some(16), ..options(device) };
            let file = MemorySource::new("tiny.gguf", tiny_llama(64, Format::Q4_0).bytes());
            let mut engine =
                Engine::load(vec![Rc::new(file)], &options, &mut |_| {}).await.unwrap();
            let mut before: Vec<Vec<f32>> = Vec::new();
            // By the GPU, the CPU, and the GPU once more; then the last part of it again, by the CPU.
            for (count, kept) in [(40, 0), (41, 40), (60, 41), (50, 49)] {
                engine.generate(&greedy(Prompt::Tokens(tokens(count)), 1), |_| {}).await.unwrap();
                let state = engine.state().await.unwrap();
                for (now, before) in state.iter().zip(&before) {
                    let row = now.len() / 256;
                    assert_eq!(
                        now[..kept * row],
                        before[..kept * row],
                        "{kv_format:?}, {count} tokens"
                    );
                    let new = &now[kept * row..count as usize * row];
                    assert!(
                        new.iter().any(|number| *number != 0.0),
                        "{kv_format:?}, {count} tokens"
                    );
                }
                before = state;
            }
        }
    });
}

/// A decoding step takes one submission, and nothing is made or written for it.
#[test]
fn a_steady_step_costs_one_submission() {
    pollster::block_on(async {
        if devices().await.len() == 1 {
            return;
        }
        let mut engine = hybrid("M-*M", options(DeviceChoice::Gpu)).await;
        for temperature in [0.0, 0.7] {
            let sampling = SamplerOptions { temperature, ..SamplerOptions::default() };
            let request = GenerateRequest { sampling, ..greedy(Prompt::Tokens(tokens(40)), 8) };
            engine.generate(&request, |_| {}).await.unwrap();
            let step = engine.info().step.counters;
            let found = [
                step.submits,
                step.bind_groups_created,
                step.write_buffer_bytes,
                step.readback_bytes,
            ];
            assert_eq!(found, [1, 0, 0, 16]);
            assert!(step.dispatches > 8 && step.encode_us > 0.0, "{step:?}");
        }
    });
}
