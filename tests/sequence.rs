//! What a sequence must do however it is cut: chunks, resets, aborted answers, many chats.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use serde_json::json;

use common::cache;
use common::engines::{devices, greedy, load};
use tablm::engine::{DeviceChoice, Engine, Event, LoadOptions, Prompt};
use tablm::error::Code;

const TINY: &str = "tiny-Q4_K-256.gguf";

fn tokens(count: u32) -> Vec<u32> {
    (0..count).map(|i| (i * 37 + 11) % 500).collect()
}

fn options(device: DeviceChoice) -> LoadOptions {
    LoadOptions { device, context_length: Some(256), ..LoadOptions::default() }
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
                    let found = load(&path, options).await.logits(&tokens[..count as usize]).await.unwrap();
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
fn a_shared_beginning_is_not_read_again() {
    pollster::block_on(async {
        for device in devices().await {
            let mut engine = load(&cache::derived(TINY), options(device)).await;
            let fresh = ids(&mut engine, tokens(100)).await;
            engine.reset();
            ids(&mut engine, tokens(90)).await;
            let completion = engine.generate(&greedy(Prompt::Tokens(tokens(100)), 12), |_| {}).await.unwrap();
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
                assert_eq!(ids(&mut engine, tokens(100)).await, expected, "{device:?} after {steps} steps");
            }
            // A request that is dropped in the middle.
            engine.begin(&greedy(Prompt::Tokens(tokens(60)), 50)).unwrap();
            engine.next().await.unwrap();
            assert_eq!(ids(&mut engine, tokens(100)).await, expected, "{device:?} after a dropped request");
        }
    });
}

#[test]
fn a_hundred_chats_take_no_more_memory() {
    pollster::block_on(async {
        for device in devices().await {
            let mut engine = load(&cache::derived(TINY), options(device)).await;
            let held = |engine: &Engine| (engine.info().memory.peak_gpu_bytes, engine.info().pipelines);
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
        let completion = engine.generate(&greedy(Prompt::Tokens(tokens(250)), 50), |_| {}).await.unwrap();
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
