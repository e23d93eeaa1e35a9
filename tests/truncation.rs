//! Conversations that do not fit the context: refused, or without their oldest turns.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use serde_json::Value;

use common::cache;
use common::conversations::{cached, chat, message, options, system};
use common::engines::load;
use tablm::engine::{DeviceChoice, Engine, GenerateRequest, LoadOptions};
use tablm::error::Code;

const CONTEXT: u32 = 1000;
/// Most tokens of a turn with the template around it.
const TURN: usize = 160;

/// A system message and `turns` turns, the last without its answer.
fn conversation(turns: usize) -> Vec<Value> {
    let mut messages = vec![system()];
    for turn in 0..turns {
        messages.push(message("user", format!("question {turn} on layers and kernels in order")));
        if turn + 1 < turns {
            messages.push(message("assistant", format!("answer {turn} is a plan over buffers")));
        }
    }
    messages
}

fn truncating(messages: &[Value]) -> GenerateRequest {
    GenerateRequest { truncates: true, ..chat(messages) }
}

async fn engine(name: &str) -> Engine {
    let options = LoadOptions { context_length: Some(CONTEXT), ..options(DeviceChoice::Cpu) };
    load(&cache::tiny(name), options).await
}

#[test]
fn a_conversation_goes_on_without_its_oldest_turns() {
    pollster::block_on(async {
        for name in ["qwen3-tied", "nemotron_h-g8x1"] {
            let mut engine = engine(name).await;
            let mut other = self::engine(name).await;
            let mut omitted = Vec::new();
            let mut read_again = 0;
            for turns in 1..40 {
                let messages = conversation(turns);
                let answer = engine.generate(&truncating(&messages), |_| {}).await.unwrap();
                let usage = answer.usage;
                // Room for the answer, which is of 30 tokens.
                assert!(usage.prompt_tokens + 30 <= CONTEXT as usize);
                let shorter: Vec<_> =
                    messages[..1].iter().chain(&messages[1 + usage.omitted_messages..]).collect();
                assert_eq!(shorter[1]["role"], "user");
                let shorter: Vec<_> = shorter.into_iter().cloned().collect();
                other.reset();
                let expected = other.generate(&chat(&shorter), |_| {}).await.unwrap();
                assert_eq!(answer.prompt_token_ids, expected.prompt_token_ids, "{name} {turns}");
                assert_eq!(answer.token_ids, expected.token_ids, "{name} {turns}");
                let is_read_again = usage.prompt_tokens - cached(&answer) > TURN;
                read_again += usize::from(is_read_again);
                assert_eq!(
                    is_read_again && turns > 1,
                    omitted.last().is_some_and(|last| *last != usage.omitted_messages),
                    "{name} {turns}: read again when turns are left out, not otherwise"
                );
                omitted.push(usage.omitted_messages);
            }
            assert!(omitted.is_sorted() && *omitted.last().unwrap() > 40, "{omitted:?}");
            assert!(read_again < 20, "{read_again}");
        }
    });
}

#[test]
fn what_does_not_fit_is_refused() {
    pollster::block_on(async {
        let mut engine = engine("qwen3-tied").await;
        let refused = engine.generate(&chat(&conversation(40)), |_| {}).await.unwrap_err();
        assert_eq!(refused.code(), Code::ContextFull);
        let mut messages = conversation(3);
        messages.push(message("user", "a plan over named buffers. ".repeat(400)));
        let refused = engine.generate(&truncating(&messages), |_| {}).await.unwrap_err();
        assert_eq!(refused.code(), Code::ContextFull);
        // A conversation that fits is read as it is.
        let answer = engine.generate(&truncating(&conversation(3)), |_| {}).await.unwrap();
        assert_eq!(answer.usage.omitted_messages, 0);
    });
}
