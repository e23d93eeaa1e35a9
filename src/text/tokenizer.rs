//! The tokenizer as the rest of the crate sees it: text to ids, ids to text, special tokens.
//!
//! A text goes through the same four steps whatever the file was: added tokens are cut out, the
//! rest is normalised, cut into words, and each word is merged. The `tokenizers` crate does the
//! middle two. Merging and the token table are our own: the crate's take memory from numbers in
//! the file, stop the program on tables no sound file has, and know a word by 32 bits of a hash.

use std::borrow::Cow;

use serde_json::Value;

use super::added::{AddedToken, AddedTokens, Segment};
use super::bpe::{Bpe, Scratch};
use super::decoder::Decoder;
use super::split::{SplitScratch, Splitter};
use super::tokenizer_gguf::{self, GgufVocabulary};
use super::tokenizer_json;
use super::vocabulary::{Kind, Vocabulary};
use crate::error::{Error, Result};
use crate::weights::Metadata;

/// Most bytes of text in one call: far past every context, and safe for 32-bit offsets.
const MAX_TEXT_BYTES: usize = 1 << 27;

/// How a control token that ends a turn is written in the vocabularies that have one.
const TURN_ENDS: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "</s>",
    "<|end|>",
    "<|eom_id|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<EOT>",
    "<|return|>",
    "<|call|>",
];

/// Text to token ids and back.
#[derive(Debug)]
pub struct Tokenizer {
    pub(super) table: Vocabulary,
    pub(super) bpe: Bpe,
    pub(super) splitter: Splitter,
    pub(super) raw_added: AddedTokens,
    pub(super) normalised_added: AddedTokens,
    pub(super) special: SpecialIds,
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
    pub fn from_json(file: &str, tokenizer_json: &[u8], tokenizer_config: Option<&Value>) -> Result<Self> {
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
        mut special: SpecialIds,
    ) -> Result<Self> {
        let (mut normalised, raw): (Vec<_>, Vec<_>) = added.into_iter().partition(|token| token.normalized);
        for token in &mut normalised {
            // In the middle of a text, so that nothing is put in front of it.
            token.text = splitter.normalise(&token.text, 1)?.into_owned();
        }
        let (raw_added, normalised_added) = (AddedTokens::new(raw), AddedTokens::new(normalised));
        let ends = TURN_ENDS.iter().filter_map(|text| raw_added.find(text)).filter(|token| token.special);
        let named = special.eos.into_iter().chain(ends.map(|token| token.id));
        special.ends.extend(named);
        special.ends.sort_unstable();
        special.ends.dedup();
        Ok(Self { table, bpe, splitter, raw_added, normalised_added, special })
    }

    /// The ids of `text`, in which special tokens are recognised: for rendered templates.
    /// Nothing is put before or after; see [`Tokenizer::prefix`].
    ///
    /// `invalid-request` when the text is longer than 128 MiB.
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
        let mut scratch = (SplitScratch::default(), Scratch::default());
        for segment in self.raw_added.segments(text, with_special) {
            match segment {
                Segment::Token(id) => ids.push(id),
                Segment::Text(range) => {
                    let normalised = self.splitter.normalise(&text[range.clone()], range.start)?;
                    for segment in self.normalised_added.segments(&normalised, with_special) {
                        match segment {
                            Segment::Token(id) => ids.push(id),
                            Segment::Text(range) => self.merge(&normalised[range], &mut scratch, &mut ids)?,
                        }
                    }
                }
            }
        }
        Ok(ids)
    }

    fn merge(&self, text: &str, scratch: &mut (SplitScratch, Scratch), ids: &mut Vec<u32>) -> Result<()> {
        for word in self.splitter.words(text, &mut scratch.0)? {
            let word = text
                .get(word)
                .ok_or_else(|| Error::internal("a word does not end between two characters"))?;
            self.bpe.encode(&self.table, word, &mut scratch.1, ids);
        }
        Ok(())
    }

    /// The text of `ids`; control tokens are left out with `skip_special`, and shown as they are
    /// written otherwise. Bytes that are not UTF-8 become U+FFFD.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> String {
        let mut decoder = Decoder::new(self).with_special(!skip_special);
        let mut text = String::new();
        for &id in ids {
            text.push_str(&decoder.push(self, id));
        }
        text + &decoder.finish()
    }

    /// The bytes that `id` adds to a text, before anything is stripped from its start; the text
    /// of a control token with `with_special`, else nothing. Empty for ids without a token.
    pub fn token_bytes(&self, id: u32, with_special: bool) -> Cow<'_, [u8]> {
        if !with_special && self.is_special(id) {
            return Cow::Borrowed(&[]);
        }
        self.table.bytes(id)
    }

    /// How many ids there are, gaps included: the highest id plus one.
    pub fn vocabulary_size(&self) -> usize {
        self.table.size()
    }

    /// The id of a token as it is written: special tokens first, then ordinary ones.
    pub fn id_of(&self, text: &str) -> Option<u32> {
        let added = self.raw_added.find(text).or_else(|| self.normalised_added.find(text));
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

    /// The ids after which a generation stops, in ascending order: the end token and every
    /// control token known to end a turn. `generation_config.json` may name more.
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
        id.map_or(Cow::Borrowed(""), |id| String::from_utf8_lossy(self.table.text(id)))
    }
}
