//! Incremental decoding: ids to text while they are generated, without partial characters.
//!
//! Bytes that may still become a character are held back; invalid bytes become U+FFFD. The
//! concatenated output equals the text of decoding all ids at once.

use super::Tokenizer;
use super::decode_rule::strip_start;
use crate::error::{Error, Result};

/// Maximum bytes of text that [`Tokenizer::decode`] produces.
const MAX_DECODED_BYTES: usize = 1 << 27;

impl Tokenizer {
    /// Text of `ids`. Control tokens are omitted if `skip_special`, otherwise shown as text. Bytes
    /// that are not UTF-8 become U+FFFD. Errors: `invalid-request` if the text is longer than
    /// 128 MiB.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        let mut decoder = StreamingDecoder::new(self).with_special(!skip_special);
        let mut text = String::new();
        for &id in ids {
            text.push_str(&decoder.push(self, id));
            if text.len() > MAX_DECODED_BYTES {
                let found = format!("more than {MAX_DECODED_BYTES} bytes of text");
                return Err(Error::invalid_value("tokens", found, "at most as many"));
            }
        }
        Ok(text + &decoder.finish())
    }
}

/// Incremental decoder of one text, token by token.
#[derive(Debug, Clone)]
pub struct StreamingDecoder {
    /// Bytes of an incomplete character, at most three.
    pending: Vec<u8>,
    with_special: bool,
    /// Control tokens that are shown nevertheless.
    shown: Vec<u32>,
    /// Character to strip from the start of the text, and how many may still be stripped.
    strip: Option<(char, usize)>,
    /// True until the first token.
    is_first: bool,
}

impl StreamingDecoder {
    /// Creates a decoder for a complete text, omitting control tokens. SentencePiece-style
    /// vocabularies put a space before the first word, which is stripped.
    pub fn new(tokenizer: &Tokenizer) -> Self {
        let strip = tokenizer.vocabulary.strip_start();
        Self { pending: Vec::new(), with_special: false, shown: Vec::new(), strip, is_first: true }
    }

    /// Creates a decoder for the continuation of a text, which keeps a leading space.
    pub fn continuing() -> Self {
        Self {
            pending: Vec::new(),
            with_special: false,
            shown: Vec::new(),
            strip: None,
            is_first: false,
        }
    }

    /// Sets whether control tokens are shown as text.
    #[must_use]
    pub fn with_special(mut self, with_special: bool) -> Self {
        self.with_special = with_special;
        self
    }

    /// Shows the given control tokens as text.
    #[must_use]
    pub fn showing(mut self, ids: Vec<u32>) -> Self {
        self.shown = ids;
        self
    }

    /// Decodes a token; returns the text that is certain now, often empty.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32) -> String {
        if tokenizer.is_shown(id, self.with_special || self.shown.contains(&id)) {
            self.pending.extend_from_slice(&tokenizer.vocabulary.bytes(id, self.is_first));
            self.is_first = false;
        }
        let (text, used) = complete_text(&self.pending);
        self.pending.drain(..used);
        self.stripped(text)
    }

    /// Ends the text; returns what was held back, with U+FFFD for an incomplete character.
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

/// Text of the complete characters at the start of `bytes`, and the number of bytes used: all but
/// an incomplete character at the end.
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
