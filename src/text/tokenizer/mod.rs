//! Tokenizers: text to token ids and back.
//!
//! Encoding has the same four steps for every file format: added tokens are matched, the text
//! between them is normalized, split into words (pre-tokenization), and each word is segmented into
//! tokens: by byte pair encoding, WordPiece or Unigram. Normalization and most of pre-tokenization
//! use the `tokenizers` crate. Segmentation and the vocabulary are implemented here: the versions
//! of the crate allocate memory by counts found in the file, panic on invalid vocabularies, and
//! identify a cached word by a 32-bit hash.
//!
//! [`Tokenizer`] is built by `gguf` (from GGUF metadata) or `json` (from a Hugging Face
//! `tokenizer.json`). Its parts are `added_tokens`, `normalization`, `pre_tokenizer`,
//! `subwords` and `vocabulary`; [`StreamingDecoder`] turns ids into text while they are generated.

mod added_tokens;
mod bounded_json;
mod bpe;
mod char_set;
mod charsmap;
mod components;
mod decode_rule;
mod gguf;
mod gguf_encoders;
mod gguf_metadata;
mod gguf_tokens;
mod json;
mod normalization;
mod post_processor;
mod pre_tokenizer;
mod pre_tokenizer_patterns;
mod split_pattern;
mod splitter;
mod streaming_decoder;
mod subwords;
mod tokenizer_config;
mod tokenizer_json;
mod turn_end_tokens;
mod unigram;
mod vocabulary;
mod wordpiece;

use std::borrow::Cow;
use std::ops::Range;

use added_tokens::{AddedToken, AddedTokens, Segment};
use normalization::{Normalization, check_length};
use pre_tokenizer::{PreTokenizer, PreTokenizerScratch};
use subwords::{SubwordModel, SubwordScratch};
use vocabulary::{TokenKind, Vocabulary};

pub use gguf_metadata::GgufVocabulary;
pub use streaming_decoder::StreamingDecoder;

use crate::error::{Error, Result};

/// Maximum bytes of text in one call: several times the longest context.
const MAX_TEXT_BYTES: usize = 1 << 24;
/// Character that SentencePiece-style vocabularies use for a space.
const SPACE_MARK: char = '▁';

/// A tokenizer: encodes text as token ids and decodes ids to text.
#[derive(Debug)]
pub struct Tokenizer {
    vocabulary: Vocabulary,
    model: SubwordModel,
    normalization: Normalization,
    pre_tokenizer: PreTokenizer,
    /// Added tokens that are matched in the text as given.
    raw_added: AddedTokens,
    /// Added tokens that are matched in the normalized text.
    normalized_added: AddedTokens,
    special: SpecialIds,
    /// True if text without a pre-tokenizer may be split before runs of [`SPACE_MARK`] without
    /// changing the result, which keeps merges short.
    splits_before_mark: bool,
    warnings: Vec<String>,
}

/// Ids of the tokens with a special role.
#[derive(Debug, Clone, Default)]
struct SpecialIds {
    bos: Option<u32>,
    eos: Option<u32>,
    unknown: Option<u32>,
    pad: Option<u32>,
    /// Stop tokens, ascending.
    stop: Vec<u32>,
    /// Ids put before a raw prompt (not before a rendered chat template).
    prefix: Vec<u32>,
    /// Ids put after a complete text.
    suffix: Vec<u32>,
}

impl Tokenizer {
    fn assemble(
        vocabulary: Vocabulary,
        model: SubwordModel,
        normalization: Normalization,
        pre_tokenizer: PreTokenizer,
        added: Vec<AddedToken>,
        special: SpecialIds,
        warnings: Vec<String>,
    ) -> Self {
        let (normalized, raw) = added.into_iter().partition(|token| token.normalized.is_some());
        let (raw_added, normalized_added) = (AddedTokens::new(raw), AddedTokens::new(normalized));
        let splits_before_mark =
            pre_tokenizer.is_none() && model.splits_before(&vocabulary, SPACE_MARK);
        Self {
            vocabulary,
            model,
            normalization,
            pre_tokenizer,
            raw_added,
            normalized_added,
            special,
            splits_before_mark,
            warnings,
        }
    }

    /// Omissions and contradictions in the file, and the defaults used instead.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Token ids of `text`, in which special tokens are recognized: for rendered templates.
    /// Neither [`Tokenizer::prefix`] nor [`Tokenizer::suffix`] is added.
    ///
    /// Errors: `invalid-request` if the text is longer than 16 MiB, longer than 24 MiB after
    /// normalization, or contains a word longer than 4 MiB; `malformed` if the text needs the
    /// unknown token and the file names one that is not in the vocabulary.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        self.encode_with(text, true)
    }

    /// Token ids of `text`, in which special tokens are ordinary text: for untrusted user input.
    pub fn encode_plain(&self, text: &str) -> Result<Vec<u32>> {
        self.encode_with(text, false)
    }

    fn encode_with(&self, text: &str, with_special: bool) -> Result<Vec<u32>> {
        if text.len() > MAX_TEXT_BYTES {
            let found = format!("{} bytes", text.len());
            return Err(Error::invalid_value("text", found, format!("at most {MAX_TEXT_BYTES}")));
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
            let offset = range.start;
            let normalized = self.normalization.apply(part(text, range)?)?;
            self.normalized_added.segments(&normalized, with_special, |segment| match segment {
                Segment::Token(id) => {
                    ids.push(id);
                    Ok(())
                }
                Segment::Text(range) => {
                    let offset = offset + range.start;
                    let spelled = self.pre_tokenizer.spell(part(&normalized, range)?, offset)?;
                    scratch.spelled_bytes += spelled.len();
                    check_length(scratch.spelled_bytes)?;
                    self.merge(&spelled, &mut scratch, &mut ids)
                }
            })
        })?;
        Ok(ids)
    }

    /// Splits a text into words, and appends the tokens of each word to `ids`.
    fn merge(&self, text: &str, scratch: &mut EncodeScratch, ids: &mut Vec<u32>) -> Result<()> {
        let EncodeScratch { pre_tokenizer, subwords, .. } = scratch;
        if !self.splits_before_mark {
            let mut encode =
                |word| self.model.encode(&self.vocabulary, part(text, word)?, subwords, ids);
            return self.pre_tokenizer.words(text, pre_tokenizer, &mut encode);
        }
        let mut rest = text;
        while !rest.is_empty() {
            let marks = rest.len() - rest.trim_start_matches(SPACE_MARK).len();
            let (_, after) = rest.split_at(marks);
            let (word, next) = rest.split_at(marks + after.find(SPACE_MARK).unwrap_or(after.len()));
            self.model.encode(&self.vocabulary, word, subwords, ids)?;
            rest = next;
        }
        Ok(())
    }

    /// Bytes that `id` contributes to a text, before [`StreamingDecoder`] strips leading spaces.
    /// Control tokens yield their text if `with_special`, otherwise nothing. Empty for unused ids.
    pub fn token_bytes(&self, id: u32, with_special: bool) -> Cow<'_, [u8]> {
        if self.is_shown(id, with_special) {
            self.vocabulary.bytes(id, false)
        } else {
            Cow::Borrowed(&[])
        }
    }

    /// True if `id` is visible in decoded text.
    fn is_shown(&self, id: u32, with_special: bool) -> bool {
        match self.vocabulary.kind(id) {
            TokenKind::Absent => false,
            TokenKind::Control => with_special,
            TokenKind::Normal | TokenKind::Byte(_) | TokenKind::Added => true,
        }
    }

    /// Size of the id space, gaps included: the highest id plus one.
    pub fn vocabulary_size(&self) -> usize {
        self.vocabulary.size()
    }

    /// Id of the token with the given text; special tokens take precedence over ordinary ones.
    pub fn id_of(&self, text: &str) -> Option<u32> {
        let added = self.raw_added.find(text).or_else(|| self.normalized_added.find(text));
        added.map(|token| token.id).or_else(|| self.vocabulary.find(text.as_bytes()))
    }

    /// True if `id` is a control token, which is not shown.
    pub fn is_special(&self, id: u32) -> bool {
        self.vocabulary.kind(id) == TokenKind::Control
    }

    /// True if a raw prompt starts with the begin-of-sequence token. A rendered chat template
    /// contains it already if the model needs it.
    pub fn add_bos(&self) -> bool {
        self.special.bos.is_some_and(|bos| self.special.prefix.contains(&bos))
    }

    /// Ids that a raw prompt starts with: usually none or the begin-of-sequence token.
    pub fn prefix(&self) -> &[u32] {
        &self.special.prefix
    }

    /// Ids that end a complete text: usually none. Not for prompts that the model continues.
    pub fn suffix(&self) -> &[u32] {
        &self.special.suffix
    }

    /// Begin-of-sequence token.
    pub fn bos_id(&self) -> Option<u32> {
        self.special.bos
    }

    /// End-of-sequence token.
    pub fn eos_id(&self) -> Option<u32> {
        self.special.eos
    }

    /// Token for text that the vocabulary cannot represent.
    pub fn unknown_id(&self) -> Option<u32> {
        self.special.unknown
    }

    /// Padding token.
    pub fn pad_id(&self) -> Option<u32> {
        self.special.pad
    }

    /// Stop tokens, ascending: the end-of-sequence token and every token known to end a turn.
    /// `generation_config.json` may name more.
    pub fn eos_ids(&self) -> &[u32] {
        &self.special.stop
    }

    /// Text of the begin-of-sequence token, for chat templates; empty if there is none.
    pub fn bos_token(&self) -> Cow<'_, str> {
        self.token_text(self.special.bos)
    }

    /// Text of the end-of-sequence token, for chat templates; empty if there is none.
    pub fn eos_token(&self) -> Cow<'_, str> {
        self.token_text(self.special.eos)
    }

    fn token_text(&self, id: Option<u32>) -> Cow<'_, str> {
        let Some(id) = id else { return Cow::Borrowed("") };
        let added = self.raw_added.with_id(id).or_else(|| self.normalized_added.with_id(id));
        added.map_or_else(
            || String::from_utf8_lossy(self.vocabulary.text(id)),
            |token| (&*token.text).into(),
        )
    }
}

/// Working memory of one call of [`Tokenizer::encode`].
#[derive(Default)]
struct EncodeScratch {
    pre_tokenizer: PreTokenizerScratch,
    subwords: SubwordScratch,
    /// Bytes passed to the merging step so far.
    spelled_bytes: usize,
}

fn part(text: &str, range: Range<usize>) -> Result<&str> {
    text.get(range)
        .ok_or_else(|| Error::internal("a segment of a text does not end on a character boundary"))
}
