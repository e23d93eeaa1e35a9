//! Beginnings of a prompt that later prompts are likely to have too. A template may write a message
//! differently once others follow, for example without its reasoning, so that the prompt of the
//! next turn goes back to an earlier position.

use std::iter;

use serde_json::{Value, json};

use crate::error::Result;
use crate::text::Tokenizer;

/// Least tokens of a beginning: fewer are soon read again.
const MIN_TOKENS: usize = 16;

/// Lengths in tokens, in ascending order, of the beginnings of a prompt that these have too: other
/// conversations with its system messages and tools, and this one after another turn. `render`
/// renders messages as the prompt was.
pub(super) fn kept_prefixes(
    messages: &Value,
    prompt: &str,
    ids: &[u32],
    render: impl Fn(&Value) -> Result<String>,
    tokenizer: &Tokenizer,
) -> Vec<usize> {
    let messages = messages.as_array().map_or(&[][..], Vec::as_slice);
    let opening = &messages[..opening_length(messages)];
    let user = || json!({"role": "user", "content": "a"});
    let answer = json!({"role": "assistant", "content": "a"});
    let other = opening.iter().cloned().chain([user()]).collect();
    let next = messages.iter().cloned().chain([answer, user()]).collect();
    let length = |messages: Vec<Value>| {
        // A template that refuses these messages may still take those of the next turn.
        let later = render(&Value::Array(messages)).ok()?;
        let common = prompt.bytes().zip(later.bytes()).take_while(|(a, b)| a == b).count();
        let length = tokens_before(ids, prompt.len() - common, tokenizer);
        // The last token is always read again.
        Some(length.min(ids.len().saturating_sub(1))).filter(|length| *length >= MIN_TOKENS)
    };
    // After an opening alone, only the messages of a user follow.
    let next = Some(next).filter(|_| opening.len() < messages.len());
    let mut lengths: Vec<_> = iter::once(other).chain(next).filter_map(length).collect();
    lengths.sort_unstable();
    lengths.dedup();
    lengths
}

/// Number of system messages at the beginning of a conversation.
pub(super) fn opening_length(messages: &[Value]) -> usize {
    let is_opening =
        |message: &&Value| ["system", "developer"].iter().any(|role| message["role"] == **role);
    messages.iter().take_while(is_opening).count()
}

/// Number of tokens before the last `bytes` bytes of their text. An estimate, where a tokenizer
/// changes the text: snapshots are found by tokens.
fn tokens_before(ids: &[u32], bytes: usize, tokenizer: &Tokenizer) -> usize {
    let mut left = bytes;
    let mut count = ids.len();
    while let Some(id) = ids[..count].last().filter(|_| left > 0) {
        left = left.saturating_sub(tokenizer.token_bytes(*id, true).len());
        count -= 1;
    }
    count
}
