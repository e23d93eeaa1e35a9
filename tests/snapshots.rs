//! Snapshots: a conversation goes back to an earlier position without being read from the
//! beginning, where its state cannot be truncated.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use serde_json::Value;

use common::cache;
use common::conversations::{cached, chat, message, options, system};
use common::engines::{devices, has_gpu, load};
use tablm::engine::{Completion, DeviceChoice, Engine, Event, LoadOptions, estimate};
use tablm::error::Code;

/// Models with recurrent state, and one with caches that are rings.
const MODELS: [&str; 6] = [
    "nemotron_h-g8x1",
    "nemotron_h-g2x3",
    "falcon_h1-plain",
    "granitehybrid-groups",
    "lfm2-types",
    "gemma3-pattern",
];
/// Most tokens of a user message, an answer without reasoning, and the template around them.
const TURN: usize = 96;

async fn answer(engine: &mut Engine, messages: &[Value]) -> Completion {
    engine.generate(&chat(messages), |_| {}).await.unwrap()
}

/// Answers as `engine` does, and checks that an engine that reads everything says the same. Returns
/// the number of tokens that were read.
async fn compared(engine: &mut Engine, fresh: &mut Engine, messages: &[Value]) -> usize {
    let found = answer(engine, messages).await;
    fresh.reset();
    let expected = answer(fresh, messages).await;
    assert_eq!(found.token_ids, expected.token_ids, "{:?}", engine.info().device);
    assert_eq!(cached(&expected), 0);
    found.usage.prompt_tokens - cached(&found)
}

#[test]
fn a_turn_reads_what_the_last_one_did_not_keep() {
    pollster::block_on(async {
        let mut all = devices().await;
        if has_gpu().await {
            all.push(DeviceChoice::Hybrid);
        }
        for device in all {
            for name in MODELS {
                let mut engine = load(&cache::tiny(name), options(device)).await;
                let mut fresh = load(&cache::tiny(name), options(device)).await;
                let mut messages = vec![system()];
                for turn in 0..5 {
                    messages.push(message("user", format!("question {turn} on layers")));
                    let read = compared(&mut engine, &mut fresh, &messages).await;
                    assert!(turn == 0 || read <= TURN, "{device:?} {name} {turn}: {read}");
                    // The reasoning is not part of the message.
                    messages.push(message("assistant", format!("answer {turn}")));
                }
            }
        }
    });
}

#[test]
fn earlier_turns_are_generated_again_edited_and_branched() {
    pollster::block_on(async {
        for device in devices().await {
            for name in ["nemotron_h-g8x1", "gemma3-pattern"] {
                let three = LoadOptions { snapshots: Some(3), ..options(device) };
                let mut engine = load(&cache::tiny(name), three).await;
                let mut fresh = load(&cache::tiny(name), options(device)).await;
                let what = format!("{device:?} {name}");
                let mut messages = vec![system()];
                for turn in 0..3 {
                    messages.push(message("user", format!("question {turn} on layers")));
                    answer(&mut engine, &messages).await;
                    messages.push(message("assistant", format!("answer {turn}")));
                }
                messages.pop();
                // Generated again, as it is and from an earlier turn.
                let read = compared(&mut engine, &mut fresh, &messages).await;
                assert!(read <= TURN / 2, "{what}: {read}");
                let read = compared(&mut engine, &mut fresh, &messages[..4]).await;
                assert!(read <= TURN, "{what}: {read}");
                // The last message edited.
                messages[3] = message("user", "another question");
                let read = compared(&mut engine, &mut fresh, &messages[..4]).await;
                assert!(read <= TURN, "{what}: {read}");
                // Another conversation with the same system message.
                let other = [system(), message("user", "and now something else")];
                let read = compared(&mut engine, &mut fresh, &other).await;
                assert!(read <= TURN, "{what}: {read}");
                // Another conversation.
                let other = [message("system", "b"), message("user", "a plan is data")];
                compared(&mut engine, &mut fresh, &other).await;
            }
        }
    });
}

#[test]
fn an_aborted_answer_costs_its_turn() {
    pollster::block_on(async {
        for device in devices().await {
            let mut engine = load(&cache::tiny(MODELS[0]), options(device)).await;
            let mut fresh = load(&cache::tiny(MODELS[0]), options(device)).await;
            let messages = [system(), message("user", "a question on layers")];
            for tokens in [0, 1, 5] {
                engine.begin(&chat(&messages)).unwrap();
                let mut generated = 0;
                while generated < tokens {
                    generated +=
                        usize::from(matches!(engine.next().await.unwrap(), Event::Token(_)));
                }
                engine.stop();
                while !matches!(engine.next().await.unwrap(), Event::Done(_)) {}
                let read = compared(&mut engine, &mut fresh, &messages).await;
                assert!(tokens == 0 || read <= TURN, "{device:?}, {tokens} tokens: {read}");
            }
        }
    });
}

#[test]
fn memory_of_snapshots_is_stated() {
    pollster::block_on(async {
        for device in devices().await {
            let memory = async |name: &str, snapshots| {
                let options = LoadOptions { snapshots, ..options(device) };
                let files = common::files::open(&cache::tiny(name));
                let estimated = estimate(files, &options, None).await.unwrap();
                let found = load(&cache::tiny(name), options).await.info().memory;
                let estimated = match device {
                    DeviceChoice::Cpu => estimated.cpu_memory,
                    _ => estimated.memory,
                };
                assert_eq!(found.snapshot_bytes, estimated.snapshot_bytes, "{device:?} {name}");
                assert_eq!(found.peak_gpu_bytes, estimated.peak_gpu_bytes, "{device:?} {name}");
                found.snapshot_bytes
            };
            let one = memory(MODELS[0], Some(1)).await;
            assert!(one > 0);
            assert_eq!(memory(MODELS[0], None).await, one);
            assert_eq!(memory(MODELS[0], Some(3)).await, 3 * one);
            assert_eq!(memory(MODELS[0], Some(0)).await, 0);
            assert_eq!(memory("llama-tied", None).await, 0);
        }
        let options = LoadOptions { snapshots: Some(65), ..options(DeviceChoice::Cpu) };
        let files = common::files::open(&cache::tiny(MODELS[0]));
        let error = Engine::load(files, &options, &mut |_| {}).await.err().unwrap();
        assert_eq!(error.code(), Code::InvalidRequest);
        assert!(error.message().starts_with("snapshots: found 65, expected "), "{error}");
    });
}

#[test]
fn snapshots_yield_to_a_model_on_the_cpu() {
    pollster::block_on(async {
        let path = cache::tiny(MODELS[0]);
        let of = async |max_cpu_bytes| {
            let mut options = options(DeviceChoice::Cpu);
            options.host.max_cpu_bytes = max_cpu_bytes;
            load(&path, options).await.info().memory
        };
        let all = of(None).await;
        let less = of(Some(all.peak_cpu_bytes - 1)).await;
        assert_eq!(less.snapshot_bytes, 0);
        assert_eq!(less.peak_cpu_bytes, all.peak_cpu_bytes - all.snapshot_bytes);
    });
}
