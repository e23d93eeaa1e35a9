//! Builds a [`Tokenizer`] from the `tokenizer.ggml.*` metadata of a GGUF file.
//!
//! Vocabulary models: `gpt2` is byte-level BPE with a list of merges and a pre-tokenizer named by
//! `tokenizer.ggml.pre`; `llama` is SentencePiece-style BPE, where spaces are written `▁`,
//! neighboring symbols merge by the score of the resulting token, and unknown characters fall back
//! to byte tokens; `gemma4` is between them: spaces and byte tokens as in `llama`, and a list of
//! merges. The models of embedding files are in `gguf_encoders`. Missing keys have llama.cpp's
//! defaults. Tokens that end a turn are control tokens whatever type the file gives them, as in
//! llama.cpp.

use std::borrow::Cow;
use std::collections::HashMap;

use super::Tokenizer;
use super::bpe::{BaseSymbols, Bpe, Merges, byte_table, merge_entry};
use super::decode_rule::{DecodeRule, DecodeStep};
use super::gguf_encoders::{read_unigram, read_wordpiece};
use super::gguf_metadata::{
    GgufVocabulary, MERGES, PRE, SCORES, TOKENS, TYPES, check_count, read_metadata,
};
use super::gguf_tokens::{added_tokens, byte_tokens, read_vocabulary, special_ids};
use super::normalization::Normalization;
use super::pre_tokenizer::PreTokenizer;
use super::pre_tokenizer_patterns::{self as patterns, NamedPreTokenizer};
use super::subwords::SubwordModel;
use super::turn_end_tokens::TurnEndTokens;
use super::vocabulary::{ByteAlphabet, TokenKind, Vocabulary};
use crate::error::{Error, Result, quoted};
use crate::weights::Metadata;

/// Maximum bytes of a token in a scored vocabulary: merging looks up whole candidate tokens.
const MAX_SCORED_BYTES: usize = 1 << 10;

impl Tokenizer {
    /// Builds a tokenizer from the metadata of an opened GGUF file. Errors: as for
    /// [`Tokenizer::from_gguf`]; `malformed` if a required key is missing.
    pub fn from_metadata(metadata: &Metadata) -> Result<Self> {
        read_metadata(metadata, read)
    }

    /// Builds a tokenizer from the vocabulary of a GGUF file.
    ///
    /// Errors: `malformed` if the vocabulary contradicts itself; `unsupported-format` for an
    /// unknown vocabulary model or pre-tokenizer.
    pub fn from_gguf(parts: GgufVocabulary<'_>) -> Result<Self> {
        read(&parts)
    }
}

fn read(parts: &GgufVocabulary<'_>) -> Result<Tokenizer> {
    let count = parts.tokens.len();
    let counts = [
        (TOKENS, Some(count)),
        (TYPES, parts.token_types.map(<[i64]>::len)),
        (SCORES, parts.scores.map(<[f32]>::len)),
        (MERGES, parts.merges.map(<[&str]>::len)),
    ];
    counts.into_iter().try_for_each(|(key, found)| check_count(parts.file, key, found, count))?;
    match (parts.model, parts.pre) {
        ("gemma4", _) | ("gpt2", Some("gemma4" | "granite-embed-multi-311m")) => {
            read_character_level(parts)
        }
        ("gpt2", _) => read_byte_level(parts),
        ("llama", _) => read_sentencepiece(parts),
        ("bert", _) => read_wordpiece(parts),
        ("t5", _) => read_unigram(parts),
        (other, _) => {
            let (field, found) = ("tokenizer.ggml.model", quoted(other));
            Err(Error::unsupported_value(
                parts.file,
                field,
                found,
                "gpt2, llama, gemma4, bert or t5",
            ))
        }
    }
}

fn read_byte_level(parts: &GgufVocabulary<'_>) -> Result<Tokenizer> {
    let mut warnings = Vec::new();
    let NamedPreTokenizer { patterns, ignore_merges, add_bos, .. } =
        named_pre_tokenizer(parts, &mut warnings)?;
    let pre_tokenizer = PreTokenizer::named(parts.file, PRE, patterns)?;
    let alphabet = ByteAlphabet::new();
    let ends = TurnEndTokens::find(parts.tokens.iter().map(|text| text.as_bytes()));
    let vocabulary = read_vocabulary(parts, &ends, |text, kind| match kind {
        TokenKind::Normal => alphabet.decode(text),
        _ => Cow::Borrowed(text.as_bytes()),
    })?;
    let merges = ranked_merges(parts)?;
    let bytes = (0..=255u8).filter_map(|byte| vocabulary.find(&[byte]).map(|id| (byte, id)));
    let bpe = Bpe {
        symbols: BaseSymbols::Bytes(byte_table(bytes)),
        merges: Merges::Ranked(merges),
        ignore_merges,
        byte_fallback: None,
        unknown: Ok(None),
        fuse_unknown: false,
    };
    let special = special_ids(parts, &ends, add_bos, &mut warnings)?;
    let (normalization, added) = (Normalization::none(), added_tokens(parts, &ends)?);
    let model = SubwordModel::Bpe(bpe);
    Ok(Tokenizer::assemble(
        vocabulary,
        model,
        normalization,
        pre_tokenizer,
        added,
        special,
        warnings,
    ))
}

/// Pre-tokenizer named by `pre`, or the default of the architecture or of llama.cpp.
fn named_pre_tokenizer(
    parts: &GgufVocabulary<'_>,
    warnings: &mut Vec<String>,
) -> Result<NamedPreTokenizer> {
    let known = parts.architecture.and_then(patterns::name_for_architecture);
    let name = parts.pre.or(known).unwrap_or("default");
    if name == "default" {
        let found = if parts.pre.is_some() { "is `default`" } else { "is missing" };
        warnings.push(format!(
            "{}: {PRE} {found}: using llama.cpp's default pre-tokenizer, which may differ from \
             the one the model was trained with and degrade answers; a newly converted file names \
             its pre-tokenizer",
            parts.file
        ));
    }
    patterns::from_name(parts.file, PRE, name)
}

fn ranked_merges(parts: &GgufVocabulary<'_>) -> Result<HashMap<(u32, u32), (u32, u32)>> {
    let Some(merges) = parts.merges else {
        let expected = "the merges of the vocabulary";
        return Err(Error::malformed_value(parts.file, MERGES, "nothing", expected));
    };
    let ids: HashMap<&str, u32> = parts.tokens.iter().copied().zip(0..).collect();
    let mut joined = String::new();
    let mut ranks = HashMap::with_capacity(merges.len());
    for (rank, merge) in merges.iter().enumerate() {
        // A token may be a single space, so the first character is never the separator.
        let space = merge.char_indices().skip(1).find(|&(_, character)| character == ' ');
        let pair = space.and_then(|(at, _)| Some((merge.get(..at)?, merge.get(at + 1..)?)));
        let Some((left, right)) = pair else {
            let found = format!("merge {rank} {}", quoted(merge));
            return Err(Error::malformed_value(parts.file, MERGES, found, "two tokens"));
        };
        let entry = merge_entry(parts.file, MERGES, rank, (left, right), &mut joined, |text| {
            ids.get(text).copied()
        })?;
        ranks.entry(entry.0).or_insert((rank as u32, entry.1));
    }
    Ok(ranks)
}

fn read_sentencepiece(parts: &GgufVocabulary<'_>) -> Result<Tokenizer> {
    let Some(scores) = parts.scores else {
        let expected = "the scores of a llama vocabulary";
        return Err(Error::malformed_value(parts.file, SCORES, "nothing", expected));
    };
    if let Some(id) = scores.iter().position(|score| score.is_nan()) {
        let found = format!("NaN for token {id}");
        return Err(Error::malformed_value(parts.file, SCORES, found, "a number"));
    }
    let ends = TurnEndTokens::find(parts.tokens.iter().map(|text| text.as_bytes()));
    let vocabulary = read_vocabulary(parts, &ends, |text, _| Cow::Borrowed(text.as_bytes()))?;
    let is_too_long = |id: &&u32| vocabulary.text(**id).len() > MAX_SCORED_BYTES;
    if let Some(&id) = vocabulary.normal().iter().find(is_too_long) {
        let found = format!("token {id} of {} bytes", vocabulary.text(id).len());
        let expected = format!("at most {MAX_SCORED_BYTES}");
        return Err(Error::malformed_value(parts.file, TOKENS, found, expected));
    }
    let prefix = parts.add_space_prefix.unwrap_or(true);
    let vocabulary = vocabulary.with_decode_rule(parts.file, TOKENS, unescape(prefix))?;
    let mut warnings = Vec::new();
    let special = special_ids(parts, &ends, true, &mut warnings)?;
    let merges = Merges::Scored(score_ranks(scores));
    let bpe = character_bpe(parts, &vocabulary, merges, special.unknown);
    let normalization = Normalization::sentencepiece(parts.file, prefix)?;
    let (pre_tokenizer, added) = (PreTokenizer::none(), added_tokens(parts, &ends)?);
    let model = SubwordModel::Bpe(bpe);
    Ok(Tokenizer::assemble(
        vocabulary,
        model,
        normalization,
        pre_tokenizer,
        added,
        special,
        warnings,
    ))
}

/// Gemma 4: spaces are written `▁`, merges are listed, and the begin-of-sequence token is always
/// added, as in llama.cpp: some files deny it in error.
fn read_character_level(parts: &GgufVocabulary<'_>) -> Result<Tokenizer> {
    let parts = &GgufVocabulary { add_bos: Some(true), ..*parts };
    let ends = TurnEndTokens::find(parts.tokens.iter().map(|text| text.as_bytes()));
    let vocabulary = read_vocabulary(parts, &ends, |text, _| Cow::Borrowed(text.as_bytes()))?;
    let vocabulary = vocabulary.with_decode_rule(parts.file, TOKENS, unescape(false))?;
    let mut warnings = Vec::new();
    let special = special_ids(parts, &ends, true, &mut warnings)?;
    let merges = Merges::Ranked(ranked_merges(parts)?);
    let bpe = character_bpe(parts, &vocabulary, merges, special.unknown);
    let normalization = Normalization::sentencepiece(parts.file, false)?;
    let (pre_tokenizer, added) = (PreTokenizer::line_feeds(), added_tokens(parts, &ends)?);
    let model = SubwordModel::Bpe(bpe);
    Ok(Tokenizer::assemble(
        vocabulary,
        model,
        normalization,
        pre_tokenizer,
        added,
        special,
        warnings,
    ))
}

/// Decode rule of vocabularies with `▁` for a space, which a text starts with if `prefix`.
fn unescape(prefix: bool) -> DecodeRule {
    DecodeRule {
        steps: vec![DecodeStep::Replace("▁".to_owned(), " ".to_owned())],
        strip_start: prefix.then_some((' ', 1)),
    }
}

/// Merging step of a vocabulary of characters and byte tokens.
fn character_bpe(
    parts: &GgufVocabulary<'_>,
    vocabulary: &Vocabulary,
    merges: Merges,
    unknown: Option<u32>,
) -> Bpe {
    let tokens = || parts.tokens.iter().zip(0u32..);
    let characters = tokens().filter_map(|(text, id)| {
        let mut characters = text.chars();
        let first = characters.next()?;
        let is_symbol = characters.next().is_none() && vocabulary.kind(id) == TokenKind::Normal;
        is_symbol.then_some((first, id))
    });
    Bpe {
        symbols: BaseSymbols::Characters(characters.collect()),
        merges,
        ignore_merges: false,
        byte_fallback: byte_tokens(parts, vocabulary),
        unknown: Ok(unknown),
        fuse_unknown: true,
    }
}

/// Ranks by descending score; equal scores share a rank.
fn score_ranks(scores: &[f32]) -> Vec<u32> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    let score = |id: usize| scores.get(id).copied().unwrap_or(f32::NEG_INFINITY);
    order.sort_by(|&a, &b| score(b).total_cmp(&score(a)));
    let mut ranks = vec![0; scores.len()];
    let mut rank = 0u32;
    for (place, &id) in order.iter().enumerate() {
        let before = place.checked_sub(1).and_then(|before| order.get(before));
        if before.is_some_and(|&before| score(before) != score(id)) {
            rank += 1;
        }
        if let Some(slot) = ranks.get_mut(id) {
            *slot = rank;
        }
    }
    ranks
}
