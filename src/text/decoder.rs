//! Ids to text while they arrive: no half of a character is ever shown.
//!
//! Bytes that may still become a character are held back; bytes that cannot any more become
//! U+FFFD. What comes out, put together, is what decoding everything at once gives.

use super::tokenizer::Tokenizer;
use super::vocabulary::strip_start;

/// A text that is being generated.
#[derive(Debug, Clone)]
pub struct Decoder {
    /// At most three bytes of a character that is not complete.
    pending: Vec<u8>,
    with_special: bool,
    /// Control tokens that are shown all the same.
    shown: Vec<u32>,
    /// How many characters may still be dropped from the start.
    strip: Option<(char, usize)>,
    /// Whether no token of the text has come yet.
    is_first: bool,
}

impl Decoder {
    /// A decoder for a text of its own; control tokens are left out. SentencePiece-style
    /// vocabularies put a space before the first word, which is dropped here.
    pub fn new(tokenizer: &Tokenizer) -> Self {
        let strip = tokenizer.table.strip_start();
        Self { pending: Vec::new(), with_special: false, shown: Vec::new(), strip, is_first: true }
    }

    /// A decoder for the continuation of a text: a space at its start stays.
    pub fn continuing() -> Self {
        Self {
            pending: Vec::new(),
            with_special: false,
            shown: Vec::new(),
            strip: None,
            is_first: false,
        }
    }

    /// The same, showing control tokens as they are written.
    #[must_use]
    pub fn with_special(mut self, with_special: bool) -> Self {
        self.with_special = with_special;
        self
    }

    /// The same, showing these control tokens as they are written.
    #[must_use]
    pub fn showing(mut self, ids: Vec<u32>) -> Self {
        self.shown = ids;
        self
    }

    /// Adds a token; gives the text that is certain now, often empty.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32) -> String {
        if tokenizer.is_shown(id, self.with_special || self.shown.contains(&id)) {
            self.pending.extend_from_slice(&tokenizer.table.bytes(id, self.is_first));
            self.is_first = false;
        }
        let (text, used) = complete_text(&self.pending);
        self.pending.drain(..used);
        self.stripped(text)
    }

    /// Ends the text; gives what was held back, as U+FFFD when it is not a character.
    pub fn finish(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.pending).into_owned();
        self.pending.clear();
        self.stripped(text)
    }

    fn stripped(&mut self, text: String) -> String {
        let Some((mark, count)) = self.strip else { return text };
        if text.is_empty() {
            return text;
        }
        let rest = strip_start(&text, mark, count).to_owned();
        let found = (text.len() - rest.len()) / mark.len_utf8();
        self.strip =
            if rest.is_empty() && found < count { Some((mark, count - found)) } else { None };
        rest
    }
}

/// The text that `bytes` certainly start with, and how many of them it took: all but an
/// incomplete character at the end.
fn complete_text(bytes: &[u8]) -> (String, usize) {
    let mut text = String::new();
    let mut used = 0;
    loop {
        let rest = bytes.get(used..).unwrap_or(&[]);
        match std::str::from_utf8(rest) {
            Ok(valid) => {
                text.push_str(valid);
                return (text, bytes.len());
            }
            Err(error) => {
                let (valid, _) = rest.split_at(error.valid_up_to());
                text.push_str(&String::from_utf8_lossy(valid));
                used += valid.len();
                let Some(length) = error.error_len() else { return (text, used) };
                text.push(char::REPLACEMENT_CHARACTER);
                used += length;
            }
        }
    }
}
