//! Sequences: chunks of any size, resets, reused prefixes, aborted answers, many chats.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::rc::Rc;

use serde_json::json;

use common::cache;
use common::engines::{assert_same, devices, furthest, greedy, load, state, tokens};
use common::gguf::tiny_llama;
use common::nemotron_h::tiny_nemotron_h;
use tablm::cpu::CpuVariant;
use tablm::engine::{
    DeviceChoice, Engine, Event, GenerateRequest, LoadOptions, ProfileRequest, Prompt,
};
use tablm::error::Code;
use tablm::formats::Format;
use tablm::kernels::{CacheFormat, Step};
use tablm::sampling::SamplerOptions;
use tablm::weights::source::MemorySource;

const TINY: &str = "tiny-Q4_K-256.gguf";

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

/// Logits, then every buffer of the state.
async fn logits_and_state(engine: &mut Engine, tokens: &[u32]) -> Vec<Vec<f32>> {
    let logits = engine.logits(tokens).await.unwrap();
    let mut all = vec![logits];
    all.extend(state(engine).await);
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

/// Hybrid execution: the CPU continues with the state that the GPU computed and back, to the bit.
#[test]
fn what_changes_hands_stays_as_it_is() {
    pollster::block_on(async {
        if devices().await.len() == 1 {
            return;
        }
        for kv_format in CacheFormat::ALL {
            let device = DeviceChoice::Hybrid;
            let options =
                LoadOptions { kv_format: Some(kv_format), chunk: Some(16), ..options(device) };
            let file = MemorySource::new("tiny.gguf", tiny_llama(64, Format::Q4_0).bytes());
            let mut engine =
                Engine::load(vec![Rc::new(file)], &options, &mut |_| {}).await.unwrap();
            let mut before: Vec<Vec<f32>> = Vec::new();
            // GPU, CPU, GPU; then the CPU reads the end of a shorter prompt again.
            for (count, kept) in [(40, 0), (41, 40), (60, 41), (50, 49)] {
                engine.generate(&greedy(Prompt::Tokens(tokens(count)), 1), |_| {}).await.unwrap();
                let state = state(&engine).await;
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
        let mut engine = hybrid("M-*M", options(DeviceChoice::WebGpu)).await;
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
