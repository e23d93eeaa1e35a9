//! The token table: which bytes each id stands for, of which kind it is, and the id of a text.
//!
//! Texts are kept in the form the merging sees: raw bytes for byte-level vocabularies, escaped
//! text (`▁` for a space) for SentencePiece-style ones. One allocation holds them all, and an
//! order by text replaces a hash table: 4 bytes per token, and no key is stored twice.

use std::borrow::Cow;

use super::split::{MAX_GROWTH, unsupported};
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

/// How the texts of a vocabulary that is not byte-level become bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct DecodeRule {
    /// What happens to each token, in order.
    pub(super) steps: Vec<DecodeStep>,
    /// At the start of a text, drop up to so many of this character.
    pub(super) strip_start: Option<(char, usize)>,
}

/// What happens to a token on its way to text.
#[derive(Debug, Clone)]
pub(super) enum DecodeStep {
    /// The first becomes the second, as `▁` a space.
    Replace(String, String),
    /// Up to so many of this character are dropped from its start.
    StripStart(char, usize),
    /// The mark becomes a space; in the first token of a text, if so wanted, nothing.
    Mark { mark: String, none_in_first: bool },
}

impl DecodeRule {
    /// A token's text after all steps.
    fn apply(&self, text: &[u8], is_first: bool) -> Vec<u8> {
        let mut text = String::from_utf8_lossy(text).into_owned();
        for step in &self.steps {
            text = match step {
                DecodeStep::Replace(from, to) => text.replace(from, to),
                DecodeStep::StripStart(mark, most) => strip_start(&text, *mark, *most).to_owned(),
                DecodeStep::Mark { mark, none_in_first } => {
                    text.replace(mark, if is_first && *none_in_first { "" } else { " " })
                }
            };
        }
        text.into_bytes()
    }

    /// How many times as long the steps may make a token.
    fn growth(&self) -> usize {
        self.steps.iter().fold(1, |times, step| match step {
            DecodeStep::Replace(from, to) => {
                times.saturating_mul(to.len().div_ceil(from.len().max(1)).max(1))
            }
            DecodeStep::StripStart(..) | DecodeStep::Mark { .. } => times,
        })
    }
}

/// `text` without up to `most` of `mark` at its start.
pub(super) fn strip_start(text: &str, mark: char, most: usize) -> &str {
    let found = text.chars().take(most).take_while(|&character| character == mark).count();
    text.get(found * mark.len_utf8()..).unwrap_or("")
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
    decode: DecodeRule,
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
            let message =
                format!("token {id} has {found} bytes, expected at most {MAX_TOKEN_BYTES}");
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

    /// The same table, decoding by `rule`; `unsupported-format` when that makes a token longer than
    /// one may be.
    pub(super) fn decoding(mut self, file: &str, field: &str, rule: DecodeRule) -> Result<Self> {
        let growth = rule.growth();
        let longest = (0..self.size() as u32).map(|id| self.text(id).len()).max().unwrap_or(0);
        if growth > 1 && (growth > MAX_GROWTH || longest.saturating_mul(growth) > MAX_TOKEN_BYTES) {
            let message = format!(
                "may make a token {growth} times as long, expected at most {MAX_GROWTH} times and \
                 {MAX_TOKEN_BYTES} bytes"
            );
            return Err(unsupported(file, field, message));
        }
        self.decode = rule;
        Ok(self)
    }

    /// What is dropped from the start of a text: up to so many of a character.
    pub(super) fn strip_start(&self) -> Option<(char, usize)> {
        self.decode.strip_start
    }

    /// Whether none of these tokens holds `mark` after something else: then what is merged into
    /// them may be cut before each mark, or run of marks.
    pub(super) fn start_at(&self, mark: char, mut ids: impl Iterator<Item = u32>) -> bool {
        let is_inside = |text: &str| text.trim_start_matches(mark).contains(mark);
        ids.all(|id| str::from_utf8(self.text(id)).is_ok_and(|text| !is_inside(text)))
    }

    /// Ids of normal tokens, ordered by text.
    pub(super) fn normal(&self) -> &[u32] {
        &self.sorted
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
        let start =
            id.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.texts.get(start as usize..end as usize).unwrap_or(&[])
    }

    /// The normal token with exactly this text; of several the lowest id.
    pub(super) fn find(&self, text: &[u8]) -> Option<u32> {
        let at = self.sorted.partition_point(|&id| self.text(id) < text);
        self.sorted.get(at).copied().filter(|&id| self.text(id) == text)
    }

    /// The bytes that `id` adds to a text, of which it may be the first token.
    pub(super) fn bytes(&self, id: u32, is_first: bool) -> Cow<'_, [u8]> {
        match self.kind(id) {
            Kind::Byte(byte) => Cow::Owned(vec![byte]),
            _ if !self.decode.steps.is_empty() => {
                Cow::Owned(self.decode.apply(self.text(id), is_first))
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
