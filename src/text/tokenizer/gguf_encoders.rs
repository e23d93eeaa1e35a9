//! Vocabularies of embedding models in GGUF files: `bert` is WordPiece, `t5` is Unigram.
//!
//! In `bert`, llama.cpp's converter writes a token that starts a word with `▁` before it and one
//! that continues a word without `##`.

use std::borrow::Cow;

use super::charsmap::Charsmap;
use super::decode_rule::{DecodeRule, DecodeStep};
use super::gguf_metadata::{CHARSMAP, GgufVocabulary, SCORES, TOKENS};
use super::gguf_tokens::{added_tokens, byte_tokens, read_vocabulary, special_ids};
use super::normalization::Normalization;
use super::pre_tokenizer::PreTokenizer;
use super::subwords::SubwordModel;
use super::turn_end_tokens::TurnEndTokens;
use super::unigram::{Unigram, check_token};
use super::vocabulary::{TokenKind, Vocabulary};
use super::wordpiece::WordPiece;
use super::{SPACE_MARK, SpecialIds, Tokenizer};
use crate::error::{Error, Result};

/// Maximum characters of a word, as in BERT's own tokenizer.
const MAX_WORD_CHARS: usize = 100;

/// Reads a `bert` vocabulary.
pub(super) fn read_wordpiece(parts: &GgufVocabulary<'_>) -> Result<Tokenizer> {
    let ends = TurnEndTokens::default();
    let vocabulary = read_vocabulary(parts, &ends, |text, _| Cow::Borrowed(text.as_bytes()))?;
    let vocabulary = vocabulary.with_decode_rule(parts.file, TOKENS, unescape())?;
    let mut warnings = Vec::new();
    let mut special = special_ids(parts, &ends, false, &mut warnings)?;
    let known = |id: Option<u32>| id.filter(|&id| (id as usize) < parts.tokens.len());
    // Unless the file denies it, a text is between the tokens `[CLS]` and `[SEP]`.
    special.bos = known(parts.cls).or(special.bos);
    special.prefix = surrounding(special.bos, parts.add_bos);
    special.suffix = surrounding(known(parts.sep), parts.add_sep);
    let model = SubwordModel::WordPiece(WordPiece {
        first: "▁",
        next: String::new(),
        max_chars: MAX_WORD_CHARS,
        unknown: Ok(special.unknown),
    });
    let normalization = Normalization::bert(parts.lowercase.unwrap_or(true), parts.strip_accents);
    assemble(parts, &ends, vocabulary, model, (normalization, PreTokenizer::bert()), special)
}

fn surrounding(id: Option<u32>, is_added: Option<bool>) -> Vec<u32> {
    id.filter(|_| is_added.unwrap_or(true)).into_iter().collect()
}

/// Reads a `t5` vocabulary.
pub(super) fn read_unigram(parts: &GgufVocabulary<'_>) -> Result<Tokenizer> {
    let Some(scores) = parts.scores else {
        let expected = "the scores of a t5 vocabulary";
        return Err(Error::malformed_value(parts.file, SCORES, "nothing", expected));
    };
    if let Some(id) = scores.iter().position(|score| !score.is_finite()) {
        let found = format!("a score of token {id} that is not finite");
        return Err(Error::malformed_value(parts.file, SCORES, found, "a finite number"));
    }
    for (key, found, expected) in [
        ("remove_extra_whitespaces", parts.remove_extra_whitespaces, true),
        ("add_space_prefix", parts.add_space_prefix, true),
    ] {
        if found.is_some_and(|found| found != expected) {
            let key = format!("tokenizer.ggml.{key}");
            return Err(Error::unsupported_value(parts.file, &key, !expected, expected));
        }
    }
    let ends = TurnEndTokens::default();
    let vocabulary = read_vocabulary(parts, &ends, |text, _| Cow::Borrowed(text.as_bytes()))?;
    let vocabulary = vocabulary.with_decode_rule(parts.file, TOKENS, unescape())?;
    for &id in vocabulary.normal() {
        check_token(parts.file, TOKENS, id as usize, vocabulary.text(id).len())?;
    }
    let mut warnings = Vec::new();
    let special = special_ids(parts, &ends, false, &mut warnings)?;
    let normal = (0..scores.len() as u32).filter(|&id| vocabulary.kind(id) == TokenKind::Normal);
    let normal = normal.filter_map(|id| scores.get(id as usize));
    let model = SubwordModel::Unigram(Unigram {
        scores: scores.iter().map(|&score| f64::from(score)).collect(),
        lowest: normal.fold(f64::INFINITY, |lowest, &score| lowest.min(f64::from(score))),
        unknown: special.unknown,
        byte_fallback: byte_tokens(parts, &vocabulary),
    });
    let normalization = match parts.charsmap {
        Some(bytes) if !bytes.is_empty() => {
            Normalization::charsmap(Charsmap::new(parts.file, CHARSMAP, bytes)?)
        }
        _ => Normalization::none(),
    };
    let pre_tokenizer = PreTokenizer::marked_words(parts.file, "tokenizer.ggml.model")?;
    assemble(parts, &ends, vocabulary, model, (normalization, pre_tokenizer), special)
}

/// Decode rule of vocabularies that put `▁` before a word.
fn unescape() -> DecodeRule {
    DecodeRule {
        steps: vec![DecodeStep::Replace(SPACE_MARK.to_string(), " ".to_owned())],
        strip_start: Some((' ', 1)),
    }
}

fn assemble(
    parts: &GgufVocabulary<'_>,
    ends: &TurnEndTokens,
    vocabulary: Vocabulary,
    model: SubwordModel,
    (normalization, pre_tokenizer): (Normalization, PreTokenizer),
    special: SpecialIds,
) -> Result<Tokenizer> {
    let added = added_tokens(parts, ends)?;
    let warnings = Vec::new();
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
