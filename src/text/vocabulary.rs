//! The token table: which bytes each id stands for, of which kind it is, and the id of a text.
//!
//! Texts are kept in the form the merging sees: raw bytes for byte-level vocabularies, escaped
//! text (`▁` for a space) for SentencePiece-style ones. One allocation holds them all, and an
//! order by text replaces a hash table: 4 bytes per token, and no key is stored twice.

use std::borrow::Cow;

use crate::error::{Error, Result};

/// Most ids a vocabulary may span; the largest known ones have about 260,000.
pub(super) const MAX_TOKENS: usize = 1 << 20;
/// Most bytes of one token.
pub(super) const MAX_TOKEN_BYTES: usize = 1 << 16;
/// Most bytes of all tokens together: offsets are 32 bits wide.
const MAX_TEXT_BYTES: usize = 1 << 28;

/// What an id is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// No token has this id.
    Absent,
    /// Ordinary text, found by merging.
    Normal,
    /// Stands for one byte, as `<0x0A>`.
    Byte(u8),
    /// Matched in the text before merging, and shown like any other text.
    Added,
    /// Marks structure (`<|im_end|>`): never shown, never read from plain text.
    Control,
}

/// How the texts of a SentencePiece-style vocabulary become bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct DecodeRule {
    /// `(from, to)` in order, as `▁` to a space.
    pub(super) replacements: Vec<(String, String)>,
    /// At the start of a text, drop up to so many of this character.
    pub(super) strip_start: Option<(char, usize)>,
}

/// One token on its way into the table.
pub(super) struct Entry<'a> {
    pub(super) id: u32,
    pub(super) text: Cow<'a, [u8]>,
    pub(super) kind: Kind,
}

/// All tokens of a model.
#[derive(Debug)]
pub(super) struct Vocabulary {
    texts: Vec<u8>,
    /// Where the text of each id ends; it starts where the one before ends.
    ends: Vec<u32>,
    kinds: Vec<Kind>,
    /// Ids of normal tokens, ordered by text.
    sorted: Vec<u32>,
    pub(super) decode: DecodeRule,
}

impl Vocabulary {
    /// The table of `entries`; two with the same id, an id past the limit or a token that is too
    /// long are `malformed`.
    pub(super) fn new(file: &str, field: &str, mut entries: Vec<Entry<'_>>) -> Result<Self> {
        entries.sort_by_key(|entry| entry.id);
        let size = entries.last().map_or(0, |entry| entry.id as usize + 1);
        if entries.is_empty() || size > MAX_TOKENS {
            return Err(Error::malformed(
                file,
                field,
                format!("{size} token ids, expected between 1 and {MAX_TOKENS}"),
            ));
        }
        let total: usize = entries.iter().map(|entry| entry.text.len()).sum();
        if total > MAX_TEXT_BYTES {
            let message = format!("{total} bytes of token text, expected at most {MAX_TEXT_BYTES}");
            return Err(Error::malformed(file, field, message));
        }
        let mut table = Self {
            texts: Vec::with_capacity(total),
            ends: Vec::with_capacity(size),
            kinds: Vec::with_capacity(size),
            sorted: Vec::with_capacity(entries.len()),
            decode: DecodeRule::default(),
        };
        for entry in entries {
            table.push(file, field, &entry)?;
        }
        let mut sorted = std::mem::take(&mut table.sorted);
        sorted.sort_by(|a, b| table.text(*a).cmp(table.text(*b)).then(a.cmp(b)));
        table.sorted = sorted;
        Ok(table)
    }

    fn push(&mut self, file: &str, field: &str, entry: &Entry<'_>) -> Result<()> {
        let id = entry.id as usize;
        if id < self.kinds.len() {
            return Err(Error::malformed(file, field, format!("two tokens have the id {id}")));
        }
        if entry.text.len() > MAX_TOKEN_BYTES {
            let found = entry.text.len();
            let message = format!("token {id} has {found} bytes, expected at most {MAX_TOKEN_BYTES}");
            return Err(Error::malformed(file, field, message));
        }
        let end = self.texts.len() as u32;
        self.ends.resize(id, end);
        self.kinds.resize(id, Kind::Absent);
        self.texts.extend_from_slice(&entry.text);
        self.ends.push(self.texts.len() as u32);
        self.kinds.push(entry.kind);
        if entry.kind == Kind::Normal && !entry.text.is_empty() {
            self.sorted.push(entry.id);
        }
        Ok(())
    }

    /// One more than the highest id.
    pub(super) fn size(&self) -> usize {
        self.kinds.len()
    }

    /// What `id` is for; [`Kind::Absent`] past the end.
    pub(super) fn kind(&self, id: u32) -> Kind {
        self.kinds.get(id as usize).copied().unwrap_or(Kind::Absent)
    }

    /// The text of `id` as stored; empty where there is none.
    pub(super) fn text(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let Some(&end) = self.ends.get(id) else { return &[] };
        let start = id.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.texts.get(start as usize..end as usize).unwrap_or(&[])
    }

    /// The normal token with exactly this text; of several the lowest id.
    pub(super) fn find(&self, text: &[u8]) -> Option<u32> {
        let at = self.sorted.partition_point(|&id| self.text(id) < text);
        self.sorted.get(at).copied().filter(|&id| self.text(id) == text)
    }

    /// The bytes that `id` adds to a text.
    pub(super) fn bytes(&self, id: u32) -> Cow<'_, [u8]> {
        match self.kind(id) {
            Kind::Byte(byte) => Cow::Owned(vec![byte]),
            Kind::Normal if !self.decode.replacements.is_empty() => {
                let mut text = String::from_utf8_lossy(self.text(id)).into_owned();
                for (from, to) in &self.decode.replacements {
                    text = text.replace(from, to);
                }
                Cow::Owned(text.into_bytes())
            }
            _ => Cow::Borrowed(self.text(id)),
        }
    }
}

/// The byte that `<0xNN>` stands for.
pub(super) fn parse_byte_token(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() != 2 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    u8::from_str_radix(digits, 16).ok()
}

/// The characters in which byte-level vocabularies spell the 256 bytes: the printable ones of
/// Latin-1 stand for themselves, the others for 256 and up, in order.
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
    /// The table.
    pub(super) fn new() -> Self {
        let mut bytes = [None; 512];
        for (byte, character) in (0..=255u8).zip(byte_characters()) {
            if let Some(slot) = bytes.get_mut(character as usize) {
                *slot = Some(byte);
            }
        }
        Self { bytes }
    }

    /// The bytes that `text` spells; a text with a character outside the alphabet stands for
    /// itself, as added tokens do.
    pub(super) fn decode<'a>(&self, text: &'a str) -> Cow<'a, [u8]> {
        let byte = |character: char| self.bytes.get(character as usize).copied().flatten();
        match text.chars().map(byte).collect::<Option<Vec<u8>>>() {
            Some(bytes) => Cow::Owned(bytes),
            None => Cow::Borrowed(text.as_bytes()),
        }
    }
}
