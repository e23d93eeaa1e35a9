//! Conversations with tiny models and the chat template of Nemotron, which drops the reasoning of
//! every answer before the last user message.

use serde_json::{Map, Value, json};
use tablm::engine::{Completion, DeviceChoice, GenerateRequest, LoadOptions, Prompt};
use tablm::kernels::CacheFormat;

use super::engines::greedy;

const TEMPLATE: &str = include_str!("../data/text/templates/nemotron.jinja");

/// Options with which every device computes the same tokens, and steps of 20 rows.
pub(crate) fn options(device: DeviceChoice) -> LoadOptions {
    LoadOptions {
        device,
        context_length: Some(1000),
        chunk: Some(20),
        kv_format: Some(CacheFormat::F32),
        chat_template: Some(TEMPLATE.to_owned()),
        ..LoadOptions::default()
    }
}

/// A request for a greedy answer of `count` tokens.
pub(crate) fn request(prompt: Prompt, count: usize) -> GenerateRequest {
    GenerateRequest { ignore_stop_tokens: true, ..greedy(prompt, count) }
}

/// A request for an answer of 30 tokens with reasoning.
pub(crate) fn chat(messages: &[Value]) -> GenerateRequest {
    let prompt = Prompt::Chat {
        messages: messages.into(),
        tools: None,
        thinking: Some(true),
        variables: Map::new(),
    };
    request(prompt, 30)
}

/// A message.
pub(crate) fn message(role: &str, content: impl Into<String>) -> Value {
    json!({"role": role, "content": content.into()})
}

/// A system message.
pub(crate) fn system() -> Value {
    message("system", "a plan is data: kernels in order over named buffers, written at load")
}

/// Tokens of a prompt that were not read again.
pub(crate) fn cached(answer: &Completion) -> usize {
    answer.usage.prompt_tokens_details.cached_tokens
}
