//! The tokenizer as the rest of the crate sees it: text to ids, ids to text, special tokens.
//!
//! A text goes through the same four steps whatever the file was: added tokens are cut out, the
//! rest is normalized, cut into words, and each word is merged. The `tokenizers` crate does the
//! middle two. Merging and the token table are our own: the crate's take memory from numbers in
//! the file, stop the program on tables no sound file has, and know a word by 32 bits of a hash.

use std::borrow::Cow;
use std::ops::Range;

use serde_json::Value;

use super::added::{AddedToken, AddedTokens, Segment};
use super::bpe::{Bpe, Scratch};
use super::decoder::Decoder;
use super::split::{SplitScratch, Splitter, check_length};
use super::tokenizer_gguf::{self, GgufVocabulary};
use super::tokenizer_json;
use super::vocabulary::{Kind, Vocabulary};
use crate::error::{Error, Result};
use crate::weights::Metadata;

/// Most bytes of text in one call: several times what the longest context holds.
const MAX_TEXT_BYTES: usize = 1 << 24;
/// Most bytes that ids become at once.
const MAX_DECODED_BYTES: usize = 1 << 27;
/// What SentencePiece-style vocabularies write for a space.
const SPACE_MARK: char = '▁';

/// Text to token ids and back.
#[derive(Debug)]
pub struct Tokenizer {
    pub(super) table: Vocabulary,
    pub(super) bpe: Bpe,
    pub(super) splitter: Splitter,
    pub(super) raw_added: AddedTokens,
    pub(super) normalized_added: AddedTokens,
    pub(super) special: SpecialIds,
    /// Whether what is merged as a whole may be cut before marks of spaces.
    cuts_before_mark: bool,
    warnings: Vec<String>,
}

/// The ids a file gives a role.
#[derive(Debug, Clone, Default)]
pub(super) struct SpecialIds {
    pub(super) bos: Option<u32>,
    pub(super) eos: Option<u32>,
    pub(super) unknown: Option<u32>,
    pub(super) pad: Option<u32>,
    /// Ids that end a generation.
    pub(super) ends: Vec<u32>,
    /// Ids a text starts with, when it is not a rendered template.
    pub(super) prefix: Vec<u32>,
    /// Ids a text ends with, when it is complete.
    pub(super) suffix: Vec<u32>,
}

impl Tokenizer {
    /// From the bytes of a `tokenizer.json` and, if there is one, the parsed
    /// `tokenizer_config.json`; `file` is the name for messages.
    ///
    /// `malformed` when the file contradicts itself, `unsupported-format` when it asks for a
    /// model, normalizer, pre-tokenizer or decoder that is not known here.
    pub fn from_json(
        file: &str,
        tokenizer_json: &[u8],
        tokenizer_config: Option<&Value>,
    ) -> Result<Self> {
        tokenizer_json::read(file, tokenizer_json, tokenizer_config)
    }

    /// From the vocabulary a GGUF file carries; errors as for [`Tokenizer::from_json`].
    pub fn from_gguf(parts: GgufVocabulary<'_>) -> Result<Self> {
        tokenizer_gguf::read(&parts)
    }

    /// From the metadata of an opened GGUF file; errors as for [`Tokenizer::from_json`].
    pub fn from_metadata(metadata: &Metadata) -> Result<Self> {
        tokenizer_gguf::read_metadata(metadata)
    }

    pub(super) fn assemble(
        table: Vocabulary,
        bpe: Bpe,
        splitter: Splitter,
        added: Vec<AddedToken>,
        special: SpecialIds,
        warnings: Vec<String>,
    ) -> Result<Self> {
        let (normalized, raw) = added.into_iter().partition(|token| token.normalized.is_some());
        let (raw_added, normalized_added) = (AddedTokens::new(raw), AddedTokens::new(normalized));
        let cuts_before_mark = splitter.keeps_whole() && bpe.cuts_before(&table, SPACE_MARK);
        Ok(Self {
            table,
            bpe,
            splitter,
            raw_added,
            normalized_added,
            special,
            cuts_before_mark,
            warnings,
        })
    }

    /// What the file leaves open or contradicts, and what was taken instead.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The ids of `text`, in which special tokens are recognized: for rendered templates.
    /// Nothing is put before or after; see [`Tokenizer::prefix`].
    ///
    /// `invalid-request` when the text is longer than 16 MiB, or becomes longer than 24 when it is
    /// normalized, or has a word that is longer than 4; `malformed` when it needs a token that the file
    /// names and lacks.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        self.encode_with(text, true)
    }

    /// The ids of `text`, in which special tokens are text like any other: for what a user wrote.
    pub fn encode_plain(&self, text: &str) -> Result<Vec<u32>> {
        self.encode_with(text, false)
    }

    fn encode_with(&self, text: &str, with_special: bool) -> Result<Vec<u32>> {
        if text.len() > MAX_TEXT_BYTES {
            let message = format!("{} bytes, expected at most {MAX_TEXT_BYTES}", text.len());
            return Err(Error::invalid_request("text", message));
        }
        let mut ids = Vec::with_capacity(text.len() / 3);
        let mut scratch = EncodeScratch::default();
        self.raw_added.segments(text, with_special, |segment| {
            let range = match segment {
                Segment::Token(id) => {
                    ids.push(id);
                    return Ok(());
                }
                Segment::Text(range) => range,
            };
            let (offset, normalized) = (range.start, self.splitter.normalize(part(text, range)?)?);
            self.normalized_added.segments(&normalized, with_special, |segment| match segment {
                Segment::Token(id) => {
                    ids.push(id);
                    Ok(())
                }
                Segment::Text(range) => {
                    let offset = offset + range.start;
                    let spelled = self.splitter.spell(part(&normalized, range)?, offset)?;
                    scratch.spelled_bytes += spelled.len();
                    check_length(scratch.spelled_bytes)?;
                    self.merge(&spelled, &mut scratch, &mut ids)
                }
            })
        })?;
        Ok(ids)
    }

    fn merge(&self, text: &str, scratch: &mut EncodeScratch, ids: &mut Vec<u32>) -> Result<()> {
        let EncodeScratch { split, merge, .. } = scratch;
        if !self.cuts_before_mark {
            let mut encode = |word| self.bpe.encode(&self.table, part(text, word)?, merge, ids);
            return self.splitter.words(text, split, &mut encode);
        }
        let mut rest = text;
        while !rest.is_empty() {
            let marks = rest.len() - rest.trim_start_matches(SPACE_MARK).len();
            let (_, after) = rest.split_at(marks);
            let (word, next) = rest.split_at(marks + after.find(SPACE_MARK).unwrap_or(after.len()));
            self.bpe.encode(&self.table, word, merge, ids)?;
            rest = next;
        }
        Ok(())
    }

    /// The text of `ids`; control tokens are left out with `skip_special`, and shown as they are
    /// written otherwise. Bytes that are not UTF-8 become U+FFFD. `invalid-request` when the text is
    /// longer than 128 MiB.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        let mut decoder = Decoder::new(self).with_special(!skip_special);
        let mut text = String::new();
        for &id in ids {
            text.push_str(&decoder.push(self, id));
            if text.len() > MAX_DECODED_BYTES {
                let message = format!("become more than {MAX_DECODED_BYTES} bytes of text");
                return Err(Error::invalid_request("tokens", message));
            }
        }
        Ok(text + &decoder.finish())
    }

    /// The bytes that `id` adds to a text, before anything is stripped from its start; the text
    /// of a control token with `with_special`, else nothing. Empty for ids without a token.
    pub fn token_bytes(&self, id: u32, with_special: bool) -> Cow<'_, [u8]> {
        if self.is_shown(id, with_special) {
            self.table.bytes(id, false)
        } else {
            Cow::Borrowed(&[])
        }
    }

    /// Whether `id` is a token that is part of a text.
    pub(super) fn is_shown(&self, id: u32, with_special: bool) -> bool {
        match self.table.kind(id) {
            Kind::Absent => false,
            Kind::Control => with_special,
            Kind::Normal | Kind::Byte(_) | Kind::Added => true,
        }
    }

    /// How many ids there are, gaps included: the highest id plus one.
    pub fn vocabulary_size(&self) -> usize {
        self.table.size()
    }

    /// The id of a token as it is written: special tokens first, then ordinary ones.
    pub fn id_of(&self, text: &str) -> Option<u32> {
        let added = self.raw_added.find(text).or_else(|| self.normalized_added.find(text));
        added.map(|token| token.id).or_else(|| self.table.find(text.as_bytes()))
    }

    /// Whether `id` marks structure and is never shown.
    pub fn is_special(&self, id: u32) -> bool {
        self.table.kind(id) == Kind::Control
    }

    /// Whether a raw prompt should start with the begin token. A rendered template writes its
    /// own, if the model wants one.
    pub fn add_bos(&self) -> bool {
        self.special.bos.is_some_and(|bos| self.special.prefix.contains(&bos))
    }

    /// The ids a raw prompt starts with; mostly none or the begin token.
    pub fn prefix(&self) -> &[u32] {
        &self.special.prefix
    }

    /// The ids that end a complete text; mostly none. A prompt that is to be continued has none.
    pub fn suffix(&self) -> &[u32] {
        &self.special.suffix
    }

    /// The begin token.
    pub fn bos_id(&self) -> Option<u32> {
        self.special.bos
    }

    /// The end token.
    pub fn eos_id(&self) -> Option<u32> {
        self.special.eos
    }

    /// The token for what the vocabulary does not hold.
    pub fn unknown_id(&self) -> Option<u32> {
        self.special.unknown
    }

    /// The token that fills up a batch.
    pub fn pad_id(&self) -> Option<u32> {
        self.special.pad
    }

    /// The ids after which a generation stops, in ascending order: the end tokens that the file names,
    /// and every token known to end a turn. `generation_config.json` may name more.
    pub fn eos_ids(&self) -> &[u32] {
        &self.special.ends
    }

    /// The begin token as it is written, for chat templates; empty when there is none.
    pub fn bos_token(&self) -> Cow<'_, str> {
        self.written(self.special.bos)
    }

    /// The end token as it is written, for chat templates; empty when there is none.
    pub fn eos_token(&self) -> Cow<'_, str> {
        self.written(self.special.eos)
    }

    fn written(&self, id: Option<u32>) -> Cow<'_, str> {
        let Some(id) = id else { return Cow::Borrowed("") };
        let added = self.raw_added.with_id(id).or_else(|| self.normalized_added.with_id(id));
        added.map_or_else(
            || String::from_utf8_lossy(self.table.text(id)),
            |token| (&*token.text).into(),
        )
    }
}

/// Working memory of one call.
#[derive(Default)]
struct EncodeScratch {
    split: SplitScratch,
    merge: Scratch,
    /// Bytes that were merged so far.
    spelled_bytes: usize,
}

fn part(text: &str, range: Range<usize>) -> Result<&str> {
    text.get(range)
        .ok_or_else(|| Error::internal("a part of a text does not end between two characters"))
}
