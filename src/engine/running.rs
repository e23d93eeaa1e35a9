//! A running request: how far its prompt was read, and the answer so far.

use web_time::Instant;

use super::clock::milliseconds;
use super::completion::{Completion, GenerateRequest, PromptTokensDetails, Timings, Usage};
use super::model_text::{ChatPrompt, ModelText};
use super::run_ahead::RunAhead;
use crate::error::Result;
use crate::sampling::Sampler;
use crate::text::{AnswerParser, Delta, GeneratedLogprob, StopStrings, StreamingDecoder};

/// A running request.
pub(super) struct Running {
    /// Tokens of the prompt.
    pub(super) prompt: Vec<u32>,
    /// Prompt tokens whose state the executor has.
    pub(super) prefilled: usize,
    /// Lengths of the prompt after which snapshots are to be taken, in ascending order.
    pub(super) snapshots: Vec<usize>,
    /// Sampler of the host, which also counts the tokens that the GPU samples.
    pub(super) sampler: Sampler,
    /// Progress of the GPU, if it samples the tokens.
    pub(super) ahead: Option<RunAhead>,
    /// Tokens of the answer.
    pub(super) token_ids: Vec<u32>,
    /// Reason why the answer ended, if it did.
    pub(super) finish_reason: Option<&'static str>,
    /// Most probable tokens to report in place of each generated one.
    pub(super) top_logprobs: Option<usize>,
    max_tokens: usize,
    ignore_stop_tokens: bool,
    decoder: StreamingDecoder,
    stop: StopStrings,
    /// Splits the answer to a chat into reasoning, text and tool calls.
    parser: Option<AnswerParser>,
    answer: Delta,
    started: Instant,
    /// Messages that the prompt does not have for lack of room.
    omitted_messages: usize,
    /// Prompt tokens whose state was reused; `None` until the sequence is prepared for the prompt.
    reused: Option<usize>,
    first_token: Option<Instant>,
    last_token: Option<Instant>,
    prefill_ms: f64,
}

impl Running {
    /// A request of which nothing was read.
    pub(super) fn new(
        request: &GenerateRequest,
        ChatPrompt { ids, parser, marks, snapshots }: ChatPrompt,
        omitted_messages: usize,
        sampler: Sampler,
        started: Instant,
    ) -> Result<Self> {
        Ok(Self {
            prompt: ids,
            prefilled: 0,
            snapshots,
            sampler,
            ahead: None,
            token_ids: Vec::new(),
            finish_reason: None,
            top_logprobs: request.top_logprobs,
            max_tokens: request.max_tokens.unwrap_or(usize::MAX),
            ignore_stop_tokens: request.ignore_stop_tokens,
            decoder: StreamingDecoder::continuing().showing(marks),
            stop: StopStrings::new(&request.stop)?,
            parser,
            answer: Delta::default(),
            started,
            omitted_messages,
            reused: None,
            first_token: None,
            last_token: None,
            prefill_ms: 0.0,
        })
    }

    /// True if the sequence is prepared for the prompt.
    pub(super) fn is_prepared(&self) -> bool {
        self.reused.is_some()
    }

    /// Begins the prefill after the first `reused` tokens, which need not be read again.
    pub(super) fn begin_prefill(&mut self, reused: usize) {
        (self.prefilled, self.reused) = (reused, Some(reused));
    }

    /// Records the end of the prefill.
    pub(super) fn end_prefill(&mut self) {
        self.prefilled = self.prompt.len();
        self.prefill_ms = milliseconds(self.started);
    }

    /// Appends a token to the answer; returns the part of the answer that no further token can
    /// change. The answer ends with a stop token, a stop string, `max_tokens`, or if the context is
    /// full.
    pub(super) fn push(
        &mut self,
        token: u32,
        logprob: Option<GeneratedLogprob>,
        text: &ModelText,
        is_context_full: bool,
    ) -> Delta {
        let now = Instant::now();
        self.first_token.get_or_insert(now);
        self.last_token = Some(now);
        self.token_ids.push(token);
        let is_stop = !self.ignore_stop_tokens && text.is_stop(token);
        // At a stop token the decoder may hold an incomplete character, which is dropped.
        let piece = if is_stop { String::new() } else { self.decoder.push(&text.tokenizer, token) };
        if is_stop {
            self.finish_reason = Some("stop");
        } else if self.token_ids.len() >= self.max_tokens || is_context_full {
            self.finish_reason = Some("length");
        }
        let certain = self.stop.push(&piece);
        let mut text = certain.text;
        if certain.stopped.is_some() {
            self.finish_reason = Some("stop");
        } else if self.finish_reason.is_some() {
            text.push_str(&self.stop.finish());
        }
        let mut delta = self.parse(text);
        delta.logprobs.extend(logprob);
        self.answer.extend(delta.clone());
        if self.finish_reason == Some("stop") && !self.answer.tool_calls.is_empty() {
            self.finish_reason = Some("tool_calls");
        }
        delta
    }

    fn parse(&mut self, text: String) -> Delta {
        let Some(parser) = &mut self.parser else { return Delta { text, ..Delta::default() } };
        let mut delta = parser.push(&text);
        if self.finish_reason.is_some() {
            delta.extend(parser.finish());
        }
        delta
    }

    /// The completed answer.
    pub(super) fn completion(self, finish_reason: &'static str) -> Completion {
        let between = |from: Option<Instant>, to: Option<Instant>| match (from, to) {
            (Some(from), Some(to)) => to.duration_since(from).as_secs_f64() * 1000.0,
            _ => 0.0,
        };
        let rate = |count: usize, ms: f64| if ms > 0.0 { count as f64 * 1000.0 / ms } else { 0.0 };
        let (prompt_tokens, completion_tokens) = (self.prompt.len(), self.token_ids.len());
        let total_tokens = prompt_tokens + completion_tokens;
        let cached_tokens = self.reused.unwrap_or(0);
        let decode_ms = between(self.first_token, self.last_token);
        let timings = Timings {
            prefill_ms: self.prefill_ms,
            first_token_ms: between(Some(self.started), self.first_token),
            decode_ms,
            prefill_tokens_per_s: rate(prompt_tokens - cached_tokens, self.prefill_ms),
            decode_tokens_per_s: rate(completion_tokens.saturating_sub(1), decode_ms),
        };
        let Delta { text, reasoning, tool_calls, logprobs } = self.answer;
        Completion {
            text,
            reasoning: Some(reasoning).filter(|reasoning| !reasoning.is_empty()),
            tool_calls,
            token_ids: self.token_ids,
            logprobs,
            prompt_token_ids: self.prompt,
            finish_reason,
            usage: Usage {
                prompt_tokens,
                completion_tokens,
                total_tokens,
                prompt_tokens_details: PromptTokensDetails { cached_tokens },
                omitted_messages: self.omitted_messages,
            },
            timings,
        }
    }
}
