//! Tokens that end a turn, known by how they are written: files give them types and keys of all
//! kinds, or none. The list and its exceptions are llama.cpp's.

/// How a token that ends a turn is written in the vocabularies that have one.
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

/// The tokens of one vocabulary that end a turn, and those that look like it.
#[derive(Debug, Default)]
pub(super) struct TurnEnds {
    pub(super) ids: Vec<u32>,
    /// Ends one of several messages of a turn: it is shown, to whoever takes the answer apart.
    pub(super) shown: Option<u32>,
    /// Ordinary text.
    pub(super) ordinary: Option<u32>,
}

impl TurnEnds {
    /// What ends a turn among the tokens, which are given by their texts in the order of their ids.
    pub(super) fn of<'a>(texts: impl Iterator<Item = &'a [u8]>) -> Self {
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
        // gpt-oss and Solar Open end each message of a turn with what ends whole turns elsewhere.
        let has_call = has("<|call|>") || has("<|calls|>");
        let shown = id_of(END).copied().filter(|_| has_call && (has(RETURN) || has("<|flush|>")));
        // Gemma 4 has a tag of HTML as a token.
        let ordinary = id_of(CLOSING_S).copied().filter(|_| has(TOOL_RESPONSE));
        let mut ends = Self { ids: found.iter().copied().flatten().collect(), shown, ordinary };
        ends.ids.retain(|id| Some(*id) != shown && Some(*id) != ordinary);
        ends
    }

    /// These, and others that a file names, but for what only looks like one; in ascending order.
    pub(super) fn with(&self, named: impl Iterator<Item = u32>) -> Vec<u32> {
        let mut ids: Vec<u32> = self.ids.iter().copied().chain(named).collect();
        ids.retain(|id| Some(*id) != self.shown && Some(*id) != self.ordinary);
        ids.sort_unstable();
        ids.dedup();
        ids
    }
}
