//! Tokens that end a turn, recognized by their text, because files give them various types and
//! keys or none. The list and its exceptions are those of llama.cpp (`llama-vocab.cpp`).

/// Texts of the tokens that end a turn in the vocabularies that contain them.
const TURN_ENDS: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    END,
    RETURN,
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    CLOSING_S,
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    TOOL_RESPONSE,
    "<｜end▁of▁sentence｜>",
    "[e~[",
];
const END: &str = "<|end|>";
const RETURN: &str = "<|return|>";
const CLOSING_S: &str = "</s>";
const TOOL_RESPONSE: &str = "<|tool_response>";

/// The turn-end tokens of a vocabulary, and the exceptions.
#[derive(Debug, Default)]
pub(super) struct TurnEndTokens {
    pub(super) ids: Vec<u32>,
    /// Token of [`TURN_ENDS`] that in this vocabulary ends a message, not the turn. It is shown, so
    /// that the caller can separate the messages of a turn.
    pub(super) message_end: Option<u32>,
    /// Token of [`TURN_ENDS`] that in this vocabulary is ordinary text.
    pub(super) plain_text: Option<u32>,
}

impl TurnEndTokens {
    /// Finds the turn-end tokens among token texts in the order of their ids.
    pub(super) fn find<'a>(texts: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut found = [None; TURN_ENDS.len()];
        for (text, id) in texts.zip(0u32..) {
            for (end, slot) in TURN_ENDS.iter().zip(&mut found) {
                if end.as_bytes() == text {
                    *slot = Some(id);
                }
            }
        }
        let id_of =
            |text: &str| TURN_ENDS.iter().zip(&found).find(|(end, _)| **end == text)?.1.as_ref();
        let has = |text: &str| id_of(text).is_some();
        // In gpt-oss and Solar Open, `<|end|>` ends each message of a turn, not the turn.
        let has_call = has("<|call|>") || has("<|calls|>");
        let is_harmony = has_call && (has(RETURN) || has("<|flush|>"));
        let message_end = id_of(END).copied().filter(|_| is_harmony);
        // In Gemma 4, `</s>` is an HTML tag.
        let plain_text = id_of(CLOSING_S).copied().filter(|_| has(TOOL_RESPONSE));
        let mut ends =
            Self { ids: found.iter().copied().flatten().collect(), message_end, plain_text };
        ends.ids.retain(|id| Some(*id) != message_end && Some(*id) != plain_text);
        ends
    }

    /// Turn-end tokens and the tokens that the file names, without the exceptions; ascending.
    pub(super) fn with_named(&self, named: impl Iterator<Item = u32>) -> Vec<u32> {
        let mut ids: Vec<u32> = self.ids.iter().copied().chain(named).collect();
        ids.retain(|id| Some(*id) != self.message_end && Some(*id) != self.plain_text);
        ids.sort_unstable();
        ids.dedup();
        ids
    }
}
