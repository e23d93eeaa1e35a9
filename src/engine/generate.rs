//! The story of a token: a prompt goes in by chunks, then each token picked is fed again.

use serde::Serialize;
use serde_json::{Map, Value, json};
use web_time::Instant;

use super::ahead::Ahead;
use super::load::CHUNK_PLAN;
use super::{Engine, milliseconds};
use crate::error::{Code, Error, Result};
use crate::text::answer::{AnswerParser, Delta, ToolCall};
use crate::text::decoder::Decoder;
use crate::text::sampler::{Sampler, SamplerOptions};
use crate::text::stop::StopStrings;

/// What to continue.
#[derive(Debug, Clone)]
pub enum Prompt {
    /// A chat in OpenAI's form, rendered by the checkpoint's template.
    Chat {
        /// `[{role, content, …}]`.
        messages: Value,
        /// `[{type: "function", function: {…}}]`.
        tools: Option<Value>,
        /// Whether to reason before the answer; without it, what the model does by itself.
        thinking: Option<bool>,
        /// Further variables of the template.
        variables: Map<String, Value>,
    },
    /// Text as it is.
    Raw(String),
    /// Token ids.
    Tokens(Vec<u32>),
}

/// A request for text.
#[derive(Debug, Clone)]
pub struct GenerateRequest {
    /// What to continue.
    pub prompt: Prompt,
    /// The most tokens to generate; without it, as many as the context has room for.
    pub max_tokens: Option<usize>,
    /// How the next token is chosen.
    pub sampling: SamplerOptions,
    /// Strings that end the text; they are not part of it.
    pub stop: Vec<String>,
    /// Whether the tokens that end an answer are generated like any other.
    pub ignore_stop_tokens: bool,
}

impl GenerateRequest {
    /// Checks what can be checked without a model; `invalid-request` names the field.
    pub fn check(&self) -> Result<()> {
        self.sampling.check()?;
        StopStrings::new(&self.stop)?;
        match self.max_tokens {
            Some(0) => Err(Error::invalid_request("max_tokens", "found 0, expected at least 1")),
            _ => Ok(()),
        }
    }
}

/// What [`Engine::next`] has to tell.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Event {
    /// A part of the prompt was read.
    Prefill {
        /// Prompt tokens read so far.
        done: usize,
        /// Prompt tokens.
        total: usize,
    },
    /// A token was generated: what has become certain of the answer, often nothing.
    Token(Delta),
    /// The answer is complete.
    Done(Box<Completion>),
}

/// Token counts, as OpenAI reports them.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Usage {
    /// Of the prompt.
    pub prompt_tokens: usize,
    /// Generated, the one that ended the answer included.
    pub completion_tokens: usize,
    /// Both.
    pub total_tokens: usize,
}

/// Where the time went.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Timings {
    /// Reading the prompt.
    pub prefill_ms: f64,
    /// From the request to the first token.
    pub first_token_ms: f64,
    /// From the first token to the last.
    pub decode_ms: f64,
    /// Prompt tokens read per second; those whose state was still there do not count.
    pub prefill_tokens_per_s: f64,
    /// Tokens per second after the first.
    pub decode_tokens_per_s: f64,
}

/// A finished answer.
#[derive(Debug, Clone, Serialize)]
pub struct Completion {
    /// The answer's text.
    pub text: String,
    /// The reasoning before it, where the model marks it as such.
    pub reasoning: Option<String>,
    /// Calls of the request's tools.
    pub tool_calls: Vec<ToolCall>,
    /// The answer's tokens, the one that ended it included.
    pub token_ids: Vec<u32>,
    /// The prompt's tokens.
    pub prompt_token_ids: Vec<u32>,
    /// `stop`, `tool_calls`, `length` or `abort`.
    pub finish_reason: &'static str,
    /// Token counts.
    pub usage: Usage,
    /// Where the time went.
    pub timings: Timings,
}

impl Completion {
    /// The answer as a message, for the conversation to go on.
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

/// A request on its way.
pub(super) struct Running {
    prompt: Vec<u32>,
    /// Prompt tokens whose state the executor holds.
    fed: usize,
    max_tokens: usize,
    ignore_stop_tokens: bool,
    sampler: Sampler,
    /// How far the GPU is, where it chooses the tokens instead.
    ahead: Option<Ahead>,
    decoder: Decoder,
    stop: StopStrings,
    /// What takes the answer apart; raw text is not.
    parser: Option<AnswerParser>,
    answer: Delta,
    token_ids: Vec<u32>,
    finish_reason: Option<&'static str>,
    started: Instant,
    prefilled_tokens: usize,
    first_token: Option<Instant>,
    last_token: Option<Instant>,
    prefill_ms: f64,
}

impl Engine {
    /// Starts a request; a running one is dropped. [`Engine::next`] then drives it. Errors of the
    /// request itself (`invalid-request`, `context-full`) come from here.
    pub fn begin(&mut self, request: &GenerateRequest) -> Result<()> {
        self.running = None;
        request.check()?;
        // The GPU is further than the past, which can be cut or has to be read again.
        self.is_torn |= self.executor.forget_picks() > 0 && self.is_recurrent;
        let started = Instant::now();
        let (mut parser, mut marks) = (None, Vec::new());
        let prompt = match &request.prompt {
            Prompt::Chat { messages, tools, thinking, variables } => {
                let chat = self.text.chat(messages, tools.as_ref(), *thinking, variables)?;
                (parser, marks) = (Some(chat.parser), chat.marks);
                chat.ids
            }
            Prompt::Raw(text) => self.text.raw_ids(text)?,
            Prompt::Tokens(ids) => ids.clone(),
        };
        self.check_tokens(&prompt)?;
        let mut sampler = Sampler::new(request.sampling.clone())?;
        sampler.accept_prompt(&prompt);
        let stop = StopStrings::new(&request.stop)?;
        let fed = self.keep_beginning(&prompt);
        let ahead = self.begin_picks(request, &prompt);
        self.running = Some(Running {
            fed,
            prefilled_tokens: prompt.len() - fed,
            max_tokens: request.max_tokens.unwrap_or(usize::MAX),
            ignore_stop_tokens: request.ignore_stop_tokens,
            sampler,
            ahead,
            decoder: Decoder::continuing().showing(marks),
            stop,
            parser,
            answer: Delta::default(),
            token_ids: Vec::new(),
            finish_reason: None,
            started,
            first_token: None,
            last_token: None,
            prefill_ms: 0.0,
            prompt,
        });
        Ok(())
    }

    /// Forgets what the executor holds and the prompt does not begin with; returns how many tokens
    /// are left, which need not be read again. The prompt's last one must be, for the logits
    /// after it.
    fn keep_beginning(&mut self, prompt: &[u32]) -> usize {
        let common = self.past.iter().zip(prompt).take_while(|(past, new)| past == new).count();
        let kept = common.min(prompt.len() - 1);
        if self.is_torn || (self.is_recurrent && kept < self.past.len()) {
            self.reset();
        }
        self.past.truncate(kept);
        self.past.len()
    }

    /// Drives the request one step: a chunk of the prompt, or a token. The last event is
    /// [`Event::Done`]. After an error the sequence is forgotten and the engine usable.
    pub async fn next(&mut self) -> Result<Event> {
        let Some(mut running) = self.running.take() else {
            return Err(Error::invalid_request("next", "no request is running, call begin first"));
        };
        if let Some(reason) = running.finish_reason {
            return Ok(Event::Done(Box::new(running.completion(reason))));
        }
        match self.advance(&mut running).await {
            Ok(event) => {
                self.running = Some(running);
                Ok(event)
            }
            Err(error) => {
                self.reset();
                Err(error)
            }
        }
    }

    /// Ends the running request: the next event is [`Event::Done`] with `abort`.
    pub fn stop(&mut self) {
        if let Some(running) = &mut self.running {
            running.finish_reason.get_or_insert("abort");
        }
    }

    /// Runs a request to its end.
    pub async fn generate(
        &mut self,
        request: &GenerateRequest,
        mut piece: impl FnMut(&Delta),
    ) -> Result<Completion> {
        self.begin(request)?;
        loop {
            match self.next().await? {
                Event::Prefill { .. } => {}
                Event::Token(delta) => piece(&delta),
                Event::Done(completion) => return Ok(*completion),
            }
        }
    }

    async fn advance(&mut self, running: &mut Running) -> Result<Event> {
        let total = running.prompt.len();
        let is_prompt = running.fed < total;
        let next = if is_prompt {
            let chunk = self.plans[CHUNK_PLAN].capacity as usize;
            let end = total.min(running.fed + chunk);
            running.prompt[running.fed..end].to_vec()
        } else {
            let last = running.token_ids.last().copied();
            vec![last.ok_or_else(|| Error::internal("nothing was generated after the prompt"))?]
        };
        if is_prompt && running.fed + next.len() < total {
            self.feed(&next, false).await?;
            running.fed += next.len();
            return Ok(Event::Prefill { done: running.fed, total });
        }
        let token = match &mut running.ahead {
            Some(ahead) => self.pick(ahead, &next).await?,
            None => {
                let logits = self.feed(&next, true).await?;
                // A chunk plan that yields all rows ends with the row we want.
                let row = logits.len().saturating_sub(self.vocabulary_size as usize);
                running.sampler.sample(&logits[row..], self.past.len() as u32)?.token
            }
        };
        running.sampler.accept(token);
        if is_prompt {
            running.fed = total;
            running.prefill_ms = milliseconds(running.started);
        }
        Ok(Event::Token(self.take(running, token)))
    }

    /// Adds a token to the answer; gives what has become certain.
    fn take(&self, running: &mut Running, token: u32) -> Delta {
        let now = Instant::now();
        running.first_token.get_or_insert(now);
        running.last_token = Some(now);
        running.token_ids.push(token);
        let tokenizer = &self.text.tokenizer;
        let is_stop = !running.ignore_stop_tokens && self.text.is_stop(token);
        // What the decoder still holds at the end is a part of a character, and not shown.
        let piece = if is_stop { String::new() } else { running.decoder.push(tokenizer, token) };
        let full = self.past.len() >= self.context_length as usize;
        if is_stop {
            running.finish_reason = Some("stop");
        } else if running.token_ids.len() >= running.max_tokens || full {
            running.finish_reason = Some("length");
        }
        let certain = running.stop.push(&piece);
        let mut text = certain.text;
        if certain.stopped.is_some() {
            running.finish_reason = Some("stop");
        } else if running.finish_reason.is_some() {
            text.push_str(&running.stop.finish());
        }
        let ends = running.finish_reason.is_some();
        let delta = match &mut running.parser {
            Some(parser) => {
                let mut delta = parser.push(&text);
                if ends {
                    delta.extend(parser.finish());
                }
                delta
            }
            None => Delta { text, ..Delta::default() },
        };
        running.answer.extend(delta.clone());
        if running.finish_reason == Some("stop") && !running.answer.tool_calls.is_empty() {
            running.finish_reason = Some("tool_calls");
        }
        delta
    }
}

impl Running {
    fn completion(self, finish_reason: &'static str) -> Completion {
        let between = |from: Option<Instant>, to: Option<Instant>| match (from, to) {
            (Some(from), Some(to)) => to.duration_since(from).as_secs_f64() * 1000.0,
            _ => 0.0,
        };
        let rate = |count: usize, ms: f64| if ms > 0.0 { count as f64 * 1000.0 / ms } else { 0.0 };
        let decode_ms = between(self.first_token, self.last_token);
        let timings = Timings {
            prefill_ms: self.prefill_ms,
            first_token_ms: between(Some(self.started), self.first_token),
            decode_ms,
            prefill_tokens_per_s: rate(self.prefilled_tokens, self.prefill_ms),
            decode_tokens_per_s: rate(self.token_ids.len().saturating_sub(1), decode_ms),
        };
        let (prompt_tokens, completion_tokens) = (self.prompt.len(), self.token_ids.len());
        let total_tokens = prompt_tokens + completion_tokens;
        let Delta { text, reasoning, tool_calls } = self.answer;
        Completion {
            text,
            reasoning: Some(reasoning).filter(|reasoning| !reasoning.is_empty()),
            tool_calls,
            token_ids: self.token_ids,
            prompt_token_ids: self.prompt,
            finish_reason,
            usage: Usage { prompt_tokens, completion_tokens, total_tokens },
            timings,
        }
    }
}

/// Log-probability of `token` under `logits`.
pub fn log_probability(logits: &[f32], token: u32) -> Result<f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = logits.iter().map(|logit| f64::from(logit - largest).exp()).sum();
    let logit = logits.get(token as usize);
    let logit = logit
        .ok_or_else(|| Error::new(Code::InvalidRequest, format!("token {token} has no logit")))?;
    Ok(f64::from(logit - largest) - total.ln())
}
