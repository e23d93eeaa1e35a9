//! Tokens of the prompt of a request. Of a chat that does not fit the context, the oldest turns are
//! left out if the request allows it.

use std::ops::Range;

use serde_json::Value;

use super::completion::{GenerateRequest, Prompt};
use super::kept_prefixes::opening_length;
use super::model_text::{ChatPrompt, ModelText};
use crate::error::Result;

/// Reads the prompt of a request; if the request truncates, without its oldest turns where the
/// context has no room for it and for the answer, which is at most a quarter of the context. System
/// messages at the beginning and the last turn stay. Returns the tokens and the number of messages
/// that were left out.
///
/// Turns are left out by an eighth to a quarter of the context, counted from the first one, so that
/// the next prompts of the same conversation begin as this one does and are not read again.
///
/// # Errors
/// Errors of the template and the tokenizer.
pub(super) fn read_prompt(
    text: &ModelText,
    request: &GenerateRequest,
    context_length: usize,
    with_snapshots: bool,
) -> Result<(ChatPrompt, usize)> {
    let prompt = &request.prompt;
    let answer = request.max_tokens.unwrap_or(usize::MAX).min(context_length / 4);
    let limit = context_length - answer;
    let whole = prompt_tokens(text, prompt, with_snapshots)?;
    let Prompt::Chat { messages: Value::Array(messages), .. } = prompt else {
        return Ok((whole, 0));
    };
    if !request.truncates || whole.ids.len() <= limit {
        return Ok((whole, 0));
    }
    let opening = opening_length(messages);
    let bytes: u64 = messages.iter().map(text_bytes).sum();
    let quarter = context_length as u64 / 4 * bytes / whole.ids.len() as u64;
    // A power of two, because the bytes per token of the next prompts differ a little.
    let mut starts = starts_by_bytes(messages, opening, 1 << quarter.max(1).ilog2());
    let mut fitting = None;
    // The more is left out, the shorter the prompt: bisection.
    while !starts.is_empty() {
        let middle = starts.len() / 2;
        let start = starts[middle];
        let shorter = without(prompt, messages, opening..start);
        let tokens = prompt_tokens(text, &shorter, with_snapshots)?;
        if tokens.ids.len() <= limit {
            fitting = Some((tokens, start - opening));
            starts.truncate(middle);
        } else {
            // Without a prompt that fits, the shortest is refused with its length.
            fitting = fitting.or((starts.len() == 1).then_some((tokens, start - opening)));
            starts.drain(..=middle);
        }
    }
    Ok(fitting.unwrap_or((whole, 0)))
}

/// Indices of messages with which a conversation may go on after its opening, in ascending order:
/// the first user message after each `bytes` of earlier turns, and the last user message.
fn starts_by_bytes(messages: &[Value], opening: usize, bytes: u64) -> Vec<usize> {
    let mut starts = Vec::new();
    let (mut sum, mut last, mut next) = (0, None, bytes);
    for (index, message) in messages.iter().enumerate().skip(opening) {
        if message["role"] == "user" && index > opening {
            last = Some(index);
            if sum >= next {
                starts.push(index);
                next = sum - sum % bytes + bytes;
            }
        }
        sum += text_bytes(message);
    }
    starts.extend(last.filter(|last| starts.last() != Some(last)));
    starts
}

/// Bytes of all strings of a value.
fn text_bytes(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.len() as u64,
        Value::Array(values) => values.iter().map(text_bytes).sum(),
        Value::Object(fields) => fields.values().map(text_bytes).sum(),
        _ => 0,
    }
}

/// A chat prompt without some of its messages.
fn without(prompt: &Prompt, messages: &[Value], left_out: Range<usize>) -> Prompt {
    let mut shorter = prompt.clone();
    if let Prompt::Chat { messages: kept, .. } = &mut shorter {
        let before = &messages[..left_out.start];
        *kept = before.iter().chain(&messages[left_out.end..]).cloned().collect();
    }
    shorter
}

/// Tokens of a prompt, with the parser of the answer if it is a chat, and with the lengths after
/// which to take snapshots if that is wanted.
fn prompt_tokens(text: &ModelText, prompt: &Prompt, with_snapshots: bool) -> Result<ChatPrompt> {
    let raw = |ids| ChatPrompt { ids, parser: None, marks: Vec::new(), snapshots: Vec::new() };
    match prompt {
        Prompt::Chat { messages, tools, thinking, variables } => {
            text.chat(messages, tools.as_ref(), *thinking, variables, with_snapshots)
        }
        Prompt::Raw(string) => text.raw_ids(string).map(raw),
        Prompt::Tokens(ids) => Ok(raw(ids.clone())),
    }
}
