//! The vocabulary: text and kind of each token id, and lookup of ids by text.
//!
//! Texts are stored in the form that merging works on: raw bytes for byte-level vocabularies,
//! escaped text (`▁` for a space) for SentencePiece-style ones. All texts share one allocation, and
//! ids sorted by text replace a hash table: 4 bytes per token, and no text is stored twice.

use std::borrow::Cow;

use super::components::MAX_GROWTH;
use super::decode_rule::DecodeRule;
use crate::error::{Error, Result};

/// Maximum size of the id space; the largest known vocabularies have about 260,000 tokens.
pub(super) const MAX_TOKENS: usize = 1 << 20;
/// Maximum merges: a vocabulary of [`MAX_TOKENS`] tokens, each produced by four merges.
pub(super) const MAX_MERGES: usize = 4 * MAX_TOKENS;
/// Maximum bytes of one token.
pub(super) const MAX_TOKEN_BYTES: usize = 1 << 16;
/// Maximum bytes of all tokens together: offsets are 32 bits wide.
const MAX_TOTAL_BYTES: usize = 1 << 28;

/// Kind of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// No token has this id.
    Absent,
    /// Ordinary text, produced by merging.
    Normal,
    /// A single byte, written `<0x0A>`.
    Byte(u8),
    /// Matched in the text before merging, and shown like ordinary text.
    Added,
    /// Marks structure, such as `<|im_end|>`: not shown, and not matched in untrusted text.
    /// `tokenizer.json` calls such tokens special.
    Control,
}

/// One token of the input of [`Vocabulary::new`].
pub(super) struct Entry<'a> {
    pub(super) id: u32,
    pub(super) text: Cow<'a, [u8]>,
    pub(super) kind: TokenKind,
}

/// The tokens of a model.
#[derive(Debug)]
pub(super) struct Vocabulary {
    texts: Vec<u8>,
    /// End of each id's text in `texts`; it starts where the previous one ends.
    ends: Vec<u32>,
    kinds: Vec<TokenKind>,
    /// Ids of normal tokens, sorted by text.
    sorted: Vec<u32>,
    decode: DecodeRule,
}

impl Vocabulary {
    /// Builds the vocabulary. Errors: `malformed` for a duplicate id, an id beyond the limit, or a
    /// token that is too long.
    pub(super) fn new(file: &str, field: &str, mut entries: Vec<Entry<'_>>) -> Result<Self> {
        entries.sort_by_key(|entry| entry.id);
        let size = entries.last().map_or(0, |entry| entry.id as usize + 1);
        if entries.is_empty() || size > MAX_TOKENS {
            let (found, expected) =
                (format!("{size} token ids"), format!("between 1 and {MAX_TOKENS}"));
            return Err(Error::malformed_value(file, field, found, expected));
        }
        let total: usize = entries.iter().map(|entry| entry.text.len()).sum();
        if total > MAX_TOTAL_BYTES {
            let found = format!("{total} bytes of token text");
            let expected = format!("at most {MAX_TOTAL_BYTES}");
            return Err(Error::malformed_value(file, field, found, expected));
        }
        let mut vocabulary = Self {
            texts: Vec::with_capacity(total),
            ends: Vec::with_capacity(size),
            kinds: Vec::with_capacity(size),
            sorted: Vec::with_capacity(entries.len()),
            decode: DecodeRule::default(),
        };
        for entry in entries {
            vocabulary.push(file, field, &entry)?;
        }
        let mut sorted = std::mem::take(&mut vocabulary.sorted);
        sorted.sort_by(|a, b| vocabulary.text(*a).cmp(vocabulary.text(*b)).then(a.cmp(b)));
        vocabulary.sorted = sorted;
        Ok(vocabulary)
    }

    fn push(&mut self, file: &str, field: &str, entry: &Entry<'_>) -> Result<()> {
        let id = entry.id as usize;
        if id < self.kinds.len() {
            let found = format!("two tokens with the id {id}");
            return Err(Error::malformed_value(file, field, found, "one token for each id"));
        }
        if entry.text.len() > MAX_TOKEN_BYTES {
            let found = format!("token {id} of {} bytes", entry.text.len());
            let expected = format!("at most {MAX_TOKEN_BYTES}");
            return Err(Error::malformed_value(file, field, found, expected));
        }
        let end = self.texts.len() as u32;
        self.ends.resize(id, end);
        self.kinds.resize(id, TokenKind::Absent);
        self.texts.extend_from_slice(&entry.text);
        self.ends.push(self.texts.len() as u32);
        self.kinds.push(entry.kind);
        if entry.kind == TokenKind::Normal && !entry.text.is_empty() {
            self.sorted.push(entry.id);
        }
        Ok(())
    }

    /// Sets the decode rule; `unsupported-format` if it may lengthen a token beyond the limit.
    pub(super) fn with_decode_rule(
        mut self,
        file: &str,
        field: &str,
        rule: DecodeRule,
    ) -> Result<Self> {
        let growth = rule.growth();
        let longest = (0..self.size() as u32).map(|id| self.text(id).len()).max().unwrap_or(0);
        if growth > 1 && (growth > MAX_GROWTH || longest.saturating_mul(growth) > MAX_TOKEN_BYTES) {
            let found = format!("steps that make a token up to {growth} times as long");
            let expected = format!("at most {MAX_GROWTH} times and {MAX_TOKEN_BYTES} bytes");
            return Err(Error::unsupported_value(file, field, found, expected));
        }
        self.decode = rule;
        Ok(self)
    }

    /// Character to strip from the start of a text, and the maximum count.
    pub(super) fn strip_start(&self) -> Option<(char, usize)> {
        self.decode.strip_start
    }

    /// True if no token of `ids` contains `mark` after another character, so that no merge crosses
    /// the start of a run of marks.
    pub(super) fn have_only_leading(&self, mark: char, mut ids: impl Iterator<Item = u32>) -> bool {
        let is_inside = |text: &str| text.trim_start_matches(mark).contains(mark);
        ids.all(|id| str::from_utf8(self.text(id)).is_ok_and(|text| !is_inside(text)))
    }

    /// Ids of normal tokens, sorted by text.
    pub(super) fn normal(&self) -> &[u32] {
        &self.sorted
    }

    /// Size of the id space: the highest id plus one.
    pub(super) fn size(&self) -> usize {
        self.kinds.len()
    }

    /// Kind of `id`; [`TokenKind::Absent`] beyond the end.
    pub(super) fn kind(&self, id: u32) -> TokenKind {
        self.kinds.get(id as usize).copied().unwrap_or(TokenKind::Absent)
    }

    /// Text of `id` as stored; empty if there is none.
    pub(super) fn text(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let Some(&end) = self.ends.get(id) else { return &[] };
        let start =
            id.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.texts.get(start as usize..end as usize).unwrap_or(&[])
    }

    /// The normal token with exactly this text; the lowest id if there are several.
    pub(super) fn find(&self, text: &[u8]) -> Option<u32> {
        let at = self.sorted.partition_point(|&id| self.text(id) < text);
        self.sorted.get(at).copied().filter(|&id| self.text(id) == text)
    }

    /// Passes the length in bytes and the id of each normal token that `text` starts with to
    /// `give`, the shortest first.
    pub(super) fn prefixes(
        &self,
        text: impl Iterator<Item = u8>,
        mut give: impl FnMut(usize, u32),
    ) {
        // Normal tokens that start with the bytes so far, in the order of their texts.
        let mut rest = &self.sorted[..];
        for (at, byte) in text.enumerate() {
            let byte_of = |id: u32| self.text(id).get(at).copied();
            let first = rest.partition_point(|&id| byte_of(id).is_none_or(|found| found < byte));
            rest = rest.get(first..).unwrap_or(&[]);
            rest = &rest[..rest.partition_point(|&id| byte_of(id) == Some(byte))];
            match rest.first() {
                Some(&id) if self.text(id).len() == at + 1 => give(at + 1, id),
                Some(_) => {}
                None => return,
            }
        }
    }

    /// Decoded bytes of `id`; `is_first` for the first token of a text.
    pub(super) fn bytes(&self, id: u32, is_first: bool) -> Cow<'_, [u8]> {
        match self.kind(id) {
            TokenKind::Byte(byte) => Cow::Owned(vec![byte]),
            _ if !self.decode.steps.is_empty() => {
                Cow::Owned(self.decode.apply(self.text(id), is_first))
            }
            _ => Cow::Borrowed(self.text(id)),
        }
    }
}

/// The byte that a byte token `<0xNN>` stands for.
pub(super) fn parse_byte_token(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() != 2 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    u8::from_str_radix(digits, 16).ok()
}

/// Characters that represent the 256 bytes in byte-level vocabularies (GPT-2's `bytes_to_unicode`):
/// printable Latin-1 characters stand for themselves, the other bytes for U+0100 and up, in order.
pub(super) fn byte_characters() -> [char; 256] {
    let mut characters = ['\0'; 256];
    let mut next = 256u32;
    for byte in 0..=255u8 {
        let printable = matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
        characters[byte as usize] = if printable {
            char::from(byte)
        } else {
            next += 1;
            char::from_u32(next - 1).unwrap_or('\0')
        };
    }
    characters
}

/// The inverse of [`byte_characters`].
pub(super) struct ByteAlphabet {
    bytes: [Option<u8>; 512],
}

impl ByteAlphabet {
    /// Creates the inverse table.
    pub(super) fn new() -> Self {
        let mut bytes = [None; 512];
        for (byte, character) in (0..=255u8).zip(byte_characters()) {
            if let Some(slot) = bytes.get_mut(character as usize) {
                *slot = Some(byte);
            }
        }
        Self { bytes }
    }

    /// Bytes that `text` represents; a text with a character outside the alphabet stands for
    /// itself, as added tokens do.
    pub(super) fn decode<'a>(&self, text: &'a str) -> Cow<'a, [u8]> {
        let byte = |character: char| self.bytes.get(character as usize).copied().flatten();
        match text.chars().map(byte).collect::<Option<Vec<u8>>>() {
            Some(bytes) => Cow::Owned(bytes),
            None => Cow::Borrowed(text.as_bytes()),
        }
    }
}
