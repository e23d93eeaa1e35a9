//! Several conversations on one loaded model: each continues where it was.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use serde_json::Value;

use common::cache;
use common::conversations::{cached, chat, message, options};
use common::engines::{devices, load};
use tablm::engine::{DeviceChoice, Engine, Event, LoadOptions};
use tablm::weights::source::MemorySource;

/// Models whose state is recurrent, a ring, both, or can be truncated.
const MODELS: [&str; 5] =
    ["nemotron_h-g8x1", "lfm3-pattern", "gemma3-pattern", "falcon_h1-plain", "qwen3-tied"];
/// Turns of each conversation.
const TURNS: usize = 3;

/// The messages of a conversation before its answer number `turn`.
fn messages(conversation: usize, turn: usize) -> Vec<Value> {
    let text = format!("conversation {conversation}: a plan is data, kernels in order. ").repeat(4);
    let mut messages = vec![message("system", text)];
    for past in 0..=turn {
        if past > 0 {
            messages.push(message("assistant", format!("answer {past} of {conversation}")));
        }
        messages.push(message("user", format!("question {past} of {conversation} on layers")));
    }
    messages
}

/// Drives a request to its end; returns its ids and how many tokens of its prompt were kept.
async fn answer(engine: &mut Engine, conversation: usize, turn: usize) -> (Vec<u32>, usize) {
    let found = engine.generate(&chat(&messages(conversation, turn)), |_| {}).await.unwrap();
    let kept = cached(&found);
    (found.token_ids, kept)
}

#[test]
fn conversations_in_turn_do_not_evict_each_other() {
    pollster::block_on(async {
        for device in devices().await {
            for name in MODELS {
                let mut engine = load(&cache::tiny(name), options(device)).await;
                let alone = LoadOptions { session_bytes: Some(0), ..options(DeviceChoice::Cpu) };
                let mut fresh = load(&cache::tiny(name), alone).await;
                for turn in 0..TURNS {
                    for conversation in 0..3 {
                        let (ids, kept) = answer(&mut engine, conversation, turn).await;
                        fresh.reset();
                        let (expected, none) = answer(&mut fresh, conversation, turn).await;
                        assert_eq!(ids, expected, "{device:?} {name} {conversation} {turn}");
                        assert_eq!(none, 0);
                        assert!(turn == 0 || kept > 64, "{device:?} {name}: {kept} tokens kept");
                    }
                }
                assert!(engine.info().memory.session_bytes > 0);
            }
        }
    });
}

#[test]
fn kept_sessions_stay_within_their_budget() {
    pollster::block_on(async {
        let name = "nemotron_h-g8x1";
        let mut engine = load(&cache::tiny(name), options(DeviceChoice::Cpu)).await;
        for conversation in 0..2 {
            answer(&mut engine, conversation, 0).await;
        }
        let one = engine.info().memory.session_bytes;
        assert!(one > 0);
        // Room for two: the one used longest ago makes room.
        let budget = LoadOptions { session_bytes: Some(2 * one), ..options(DeviceChoice::Cpu) };
        let mut engine = load(&cache::tiny(name), budget).await;
        for conversation in 0..5 {
            answer(&mut engine, conversation, 0).await;
            assert!(engine.info().memory.session_bytes <= 2 * one);
        }
        let kept = |found: (Vec<u32>, usize)| found.1;
        assert!(kept(answer(&mut engine, 3, 1).await) > 64);
        assert!(kept(answer(&mut engine, 0, 1).await) < 64);
    });
}

#[test]
fn next_turns_and_repeated_answers_keep_nothing() {
    pollster::block_on(async {
        for name in MODELS {
            let mut engine = load(&cache::tiny(name), options(DeviceChoice::Cpu)).await;
            for turn in 0..TURNS {
                for _ in 0..2 {
                    answer(&mut engine, 0, turn).await;
                }
            }
            assert_eq!(engine.info().memory.session_bytes, 0, "{name}");
        }
    });
}

#[test]
fn a_pinned_beginning_serves_every_conversation() {
    pollster::block_on(async {
        for name in ["nemotron_h-g8x1", "qwen3-tied"] {
            let two = LoadOptions { snapshots: Some(2), ..options(DeviceChoice::Cpu) };
            let mut engine = load(&cache::tiny(name), two).await;
            answer(&mut engine, 0, 0).await;
            let mut bytes = Vec::new();
            let mut write = |part: &[u8]| {
                bytes.extend_from_slice(part);
                Ok(())
            };
            engine.save_session(None, &mut write).await.unwrap();
            // A load with room for one snapshot: it takes the one of the beginning.
            let mut engine = load(&cache::tiny(name), options(DeviceChoice::Cpu)).await;
            let saved = MemorySource::new("session", bytes);
            assert!(engine.keep_saved_session(&saved).await.unwrap());
            for question in 0..4 {
                let mut other = messages(0, 0);
                other[1] = message("user", format!("{question} is another question"));
                let found = engine.generate(&chat(&other), |_| {}).await.unwrap();
                assert!(cached(&found) > 64, "{name}: {}", cached(&found));
                answer(&mut engine, 1, 0).await;
            }
        }
    });
}

#[test]
fn a_request_that_is_aborted_at_once_changes_nothing() {
    pollster::block_on(async {
        let mut engine = load(&cache::tiny("qwen3-tied"), options(DeviceChoice::Cpu)).await;
        answer(&mut engine, 0, 0).await;
        engine.begin(&chat(&messages(1, 0))).unwrap();
        engine.stop();
        let Event::Done(aborted) = engine.next().await.unwrap() else { panic!("not done") };
        assert_eq!((aborted.finish_reason, cached(&aborted)), ("abort", 0));
        assert_eq!(engine.info().memory.session_bytes, 0);
        assert!(answer(&mut engine, 0, 1).await.1 > 64);
    });
}
