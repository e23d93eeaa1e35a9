//! Requests for text, their events, and the completed answer.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::sampling::SamplerOptions;
use crate::text::{Delta, GeneratedLogprob, StopStrings, ToolCall};

/// Prompt of a request.
#[derive(Debug, Clone)]
pub enum Prompt {
    /// Chat in OpenAI's form, rendered by the chat template.
    Chat {
        /// Messages: `[{role, content, …}]`.
        messages: Value,
        /// Tools: `[{type: "function", function: {…}}]`.
        tools: Option<Value>,
        /// True to reason before the answer, false not to; `None` for the model's default.
        thinking: Option<bool>,
        /// Further variables of the template.
        variables: Map<String, Value>,
    },
    /// Text to continue, without a template.
    Raw(String),
    /// Token ids.
    Tokens(Vec<u32>),
}

/// Request for text.
#[derive(Debug, Clone)]
pub struct GenerateRequest {
    /// Prompt to continue.
    pub prompt: Prompt,
    /// Most tokens to generate; `None` for as many as the context has room for.
    pub max_tokens: Option<usize>,
    /// Sampling of the tokens.
    pub sampling: SamplerOptions,
    /// Strings that end the text and are not part of it.
    pub stop: Vec<String>,
    /// True if stop tokens are generated like other tokens.
    pub ignore_stop_tokens: bool,
    /// Number of most probable tokens to report in place of each generated one, beside that one's
    /// log-probability; `None` for no log-probabilities. With them the host samples, from logits
    /// that it reads back.
    pub top_logprobs: Option<usize>,
    /// True to leave out the oldest turns of a chat that does not fit the context.
    pub truncates: bool,
}

impl GenerateRequest {
    /// Checks the fields that need no model.
    ///
    /// # Errors
    /// `invalid-request`, which names the field.
    pub fn check(&self) -> Result<()> {
        self.sampling.check()?;
        StopStrings::new(&self.stop)?;
        match self.max_tokens {
            Some(0) => Err(Error::invalid_value("max_tokens", 0, "at least 1")),
            _ => Ok(()),
        }
    }
}

/// Event of a running request.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Event {
    /// Progress of the prefill.
    Prefill {
        /// Prompt tokens whose state the executor has.
        done: usize,
        /// Prompt tokens.
        total: usize,
    },
    /// A generated token. The delta is empty while the token's text may still become part of a
    /// stop string, a multi-byte character or a tag.
    Token(Delta),
    /// End of the answer.
    Done(Box<Completion>),
}

/// Parts of the tokens of a prompt, as OpenAI reports them.
#[derive(Debug, Clone, Copy, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct PromptTokensDetails {
    /// Tokens that were not read again, because the sequence before had them too.
    pub cached_tokens: usize,
}

/// Token counts, as OpenAI reports them.
#[derive(Debug, Clone, Copy, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Generated tokens, including the stop token.
    pub completion_tokens: usize,
    /// Sum of both.
    pub total_tokens: usize,
    /// Parts of the prompt.
    pub prompt_tokens_details: PromptTokensDetails,
    /// Messages that were left out, because all did not fit the context (`truncation`).
    pub omitted_messages: usize,
}

/// Times and rates of a request.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Timings {
    /// Milliseconds of the prefill.
    pub prefill_ms: f64,
    /// Milliseconds from the request to the first token.
    pub first_token_ms: f64,
    /// Milliseconds from the first token to the last.
    pub decode_ms: f64,
    /// Prompt tokens read per second, not counting those of a reused prefix.
    pub prefill_tokens_per_s: f64,
    /// Tokens per second after the first.
    pub decode_tokens_per_s: f64,
}

/// Completed answer.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Completion {
    /// Text of the answer.
    pub text: String,
    /// Reasoning before the answer, if the model marks it as such.
    pub reasoning: Option<String>,
    /// Calls of the request's tools.
    pub tool_calls: Vec<ToolCall>,
    /// Tokens of the answer, including the stop token.
    pub token_ids: Vec<u32>,
    /// Log-probabilities of these tokens, if the request asks for them.
    pub logprobs: Vec<GeneratedLogprob>,
    /// Tokens of the prompt.
    pub prompt_token_ids: Vec<u32>,
    /// Reason why the answer ended: `stop`, `tool_calls`, `length` or `abort`.
    #[cfg_attr(feature = "typescript", ts(type = "FinishReason | \"abort\""))]
    pub finish_reason: &'static str,
    /// Token counts.
    pub usage: Usage,
    /// Times and rates.
    pub timings: Timings,
}

impl Completion {
    /// The answer as a message to append to the conversation.
    pub fn message(&self) -> Value {
        let mut message = json!({"role": "assistant", "content": self.text});
        if let Some(reasoning) = &self.reasoning {
            message["reasoning_content"] = json!(reasoning);
        }
        if !self.tool_calls.is_empty() {
            message["tool_calls"] = json!(self.tool_calls);
        }
        message
    }
}
