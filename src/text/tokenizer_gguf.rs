//! The tokenizer of a GGUF file, from its `tokenizer.ggml.*` metadata.
//!
//! `gpt2` is byte-level with a list of merges, cut as `tokenizer.ggml.pre` names; `llama` is
//! SentencePiece-style: spaces escaped as `▁`, neighbours joined by the score of what they make,
//! single bytes as the way out. What a file leaves out is taken as llama.cpp takes it.

use std::borrow::Cow;
use std::collections::HashMap;

use super::added::AddedToken;
use super::bpe::{Atoms, Bpe, Merges, byte_table, has_bytes};
use super::split::{NamedSplit, Splitter, unsupported};
use super::tokenizer::{SpecialIds, Tokenizer};
use super::vocabulary::{ByteAlphabet, DecodeRule, Entry, Kind, Vocabulary, parse_byte_token};
use crate::error::{Error, Result};
use crate::weights::Metadata;

const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const SCORES: &str = "tokenizer.ggml.scores";
const MERGES: &str = "tokenizer.ggml.merges";

/// The vocabulary as a GGUF file carries it: the metadata keys `tokenizer.ggml.*`.
#[derive(Debug, Clone, Copy, Default)]
pub struct GgufVocabulary<'a> {
    /// The file's name, for messages.
    pub file: &'a str,
    /// `model`: `gpt2` or `llama`.
    pub model: &'a str,
    /// `pre`: the name of the pre-tokenizer, for `gpt2`.
    pub pre: Option<&'a str>,
    /// `tokens`: the text of each id.
    pub tokens: &'a [&'a str],
    /// `scores`: one per token, for `llama`.
    pub scores: Option<&'a [f32]>,
    /// `token_type`: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.
    pub token_types: Option<&'a [i64]>,
    /// `merges`: two token texts with a space between, best first, for `gpt2`.
    pub merges: Option<&'a [&'a str]>,
    /// `bos_token_id`.
    pub bos: Option<u32>,
    /// `eos_token_id`.
    pub eos: Option<u32>,
    /// `eot_token_id`: the end of a turn.
    pub eot: Option<u32>,
    /// `unknown_token_id`.
    pub unk: Option<u32>,
    /// `padding_token_id`.
    pub pad: Option<u32>,
    /// `add_bos_token`.
    pub add_bos: Option<bool>,
    /// `add_eos_token`.
    pub add_eos: Option<bool>,
    /// `add_space_prefix`, for `llama`.
    pub add_space_prefix: Option<bool>,
}

/// From the metadata of an opened file; a missing key is `malformed`.
pub(super) fn read_metadata(metadata: &Metadata) -> Result<Tokenizer> {
    let missing = |key: &str| Error::malformed(metadata.file(), key, "missing, expected a vocabulary");
    let model = metadata.str("tokenizer.ggml.model")?.ok_or_else(|| missing("tokenizer.ggml.model"))?;
    let tokens = metadata.strings(TOKENS)?.ok_or_else(|| missing(TOKENS))?;
    let (scores, token_types) = (metadata.f32s(SCORES)?, metadata.i64s(TYPES)?);
    let merges = metadata.strings(MERGES)?;
    let id = |name: &str| -> Result<Option<u32>> {
        let key = format!("tokenizer.ggml.{name}_token_id");
        let narrow = |id: u64| {
            u32::try_from(id).map_err(|_| {
                Error::malformed(
                    metadata.file(),
                    &key,
                    format!("{id}, expected less than the {} tokens", tokens.len()),
                )
            })
        };
        metadata.u64(&key)?.map(narrow).transpose()
    };
    let flag = |name: &str| metadata.bool(&format!("tokenizer.ggml.{name}"));
    read(&GgufVocabulary {
        file: metadata.file(),
        model,
        pre: metadata.str("tokenizer.ggml.pre")?,
        tokens: &tokens,
        scores: scores.as_deref(),
        token_types: token_types.as_deref(),
        merges: merges.as_deref(),
        bos: id("bos")?,
        eos: id("eos")?,
        eot: id("eot")?,
        unk: id("unknown")?,
        pad: id("padding")?,
        add_bos: flag("add_bos_token")?,
        add_eos: flag("add_eos_token")?,
        add_space_prefix: flag("add_space_prefix")?,
    })
}

pub(super) fn read(parts: &GgufVocabulary<'_>) -> Result<Tokenizer> {
    check_lengths(parts)?;
    match parts.model {
        "gpt2" => read_byte_level(parts),
        "llama" => read_sentencepiece(parts),
        other => {
            let message = format!("`{other}`, expected gpt2 or llama");
            Err(unsupported(parts.file, "tokenizer.ggml.model", message))
        }
    }
}

fn check_lengths(parts: &GgufVocabulary<'_>) -> Result<()> {
    let expected = parts.tokens.len();
    let counts = [(TYPES, parts.token_types.map(<[i64]>::len)), (SCORES, parts.scores.map(<[f32]>::len))];
    for (field, count) in counts {
        if let Some(found) = count.filter(|&found| found != expected) {
            let message = format!("{found} entries, expected one for each of the {expected} tokens");
            return Err(Error::malformed(parts.file, field, message));
        }
    }
    let ids = [
        ("bos_token_id", parts.bos),
        ("eos_token_id", parts.eos),
        ("eot_token_id", parts.eot),
        ("unknown_token_id", parts.unk),
        ("padding_token_id", parts.pad),
    ];
    for (field, id) in ids {
        if let Some(id) = id.filter(|&id| id as usize >= expected) {
            let message = format!("{id}, expected less than the {expected} tokens");
            return Err(Error::malformed(parts.file, &format!("tokenizer.ggml.{field}"), message));
        }
    }
    Ok(())
}

fn read_byte_level(parts: &GgufVocabulary<'_>) -> Result<Tokenizer> {
    let named = Splitter::named(parts.file, "tokenizer.ggml.pre", parts.pre.unwrap_or("default"))?;
    let NamedSplit { splitter, ignore_merges, add_bos } = named;
    let alphabet = ByteAlphabet::new();
    let table = token_table(parts, |text, kind| match kind {
        Kind::Normal => alphabet.decode(text),
        _ => Cow::Borrowed(text.as_bytes()),
    })?;
    let merges = ranked_merges(parts)?;
    let bytes = (0..=255u8).filter_map(|byte| table.find(&[byte]).map(|id| (byte, id)));
    let bpe = Bpe {
        atoms: Atoms::Bytes(byte_table(bytes)),
        merges: Merges::Ranked(merges),
        ignore_merges,
        byte_fallback: None,
        unknown: None,
        fuse_unknown: false,
    };
    Tokenizer::assemble(table, bpe, splitter, added_tokens(parts), special_ids(parts, add_bos)?)
}

fn ranked_merges(parts: &GgufVocabulary<'_>) -> Result<HashMap<(u32, u32), (u32, u32)>> {
    let Some(merges) = parts.merges else {
        return Err(Error::malformed(
            parts.file,
            MERGES,
            "missing, expected the merges of a gpt2 vocabulary",
        ));
    };
    let ids: HashMap<&str, u32> = parts.tokens.iter().copied().zip(0..).collect();
    let mut ranks = HashMap::with_capacity(merges.len());
    for (rank, merge) in merges.iter().enumerate() {
        // A token may be a single space, so the space between is not the first character.
        let space = merge.char_indices().skip(1).find(|&(_, character)| character == ' ');
        let pair = space.and_then(|(at, _)| Some((merge.get(..at)?, merge.get(at + 1..)?)));
        let Some((left, right)) = pair else {
            let message = format!("merge {rank} `{}`, expected two tokens", shown(merge));
            return Err(Error::malformed(parts.file, MERGES, message));
        };
        let entry = merge_entry(&ids, left, right)
            .map_err(|missing| unknown_in_merge(parts.file, MERGES, rank, &missing))?;
        ranks.entry(entry.0).or_insert((rank as u32, entry.1));
    }
    Ok(ranks)
}

/// The ids of a merge and of what it makes; the text that is no token otherwise.
pub(super) fn merge_entry(
    ids: &HashMap<&str, u32>,
    left: &str,
    right: &str,
) -> Result<((u32, u32), u32), String> {
    let id = |text: &str| match ids.get(text) {
        Some(&id) if !text.is_empty() => Ok(id),
        _ => Err(text.to_owned()),
    };
    let pair = (id(left)?, id(right)?);
    Ok((pair, id(&format!("{left}{right}"))?))
}

/// `malformed`: a merge names a text that is no token.
pub(super) fn unknown_in_merge(file: &str, field: &str, rank: usize, text: &str) -> Error {
    let message = format!("merge {rank} needs `{}`, which is not in the vocabulary", shown(text));
    Error::malformed(file, field, message)
}

fn read_sentencepiece(parts: &GgufVocabulary<'_>) -> Result<Tokenizer> {
    let Some(scores) = parts.scores else {
        return Err(Error::malformed(
            parts.file,
            SCORES,
            "missing, expected the scores of a llama vocabulary",
        ));
    };
    if let Some(id) = scores.iter().position(|score| score.is_nan()) {
        return Err(Error::malformed(parts.file, SCORES, format!("score {id} is not a number")));
    }
    let mut table = token_table(parts, |text, _| Cow::Borrowed(text.as_bytes()))?;
    let prefix = parts.add_space_prefix.unwrap_or(true);
    table.decode = DecodeRule {
        replacements: vec![("▁".to_owned(), " ".to_owned())],
        strip_start: prefix.then_some((' ', 1)),
    };
    let tokens = || parts.tokens.iter().zip(0u32..);
    let characters = tokens().filter_map(|(text, id)| {
        let mut characters = text.chars();
        let first = characters.next()?;
        (characters.next().is_none() && table.kind(id) == Kind::Normal).then_some((first, id))
    });
    let bytes = byte_table(tokens().filter_map(|(_, id)| match table.kind(id) {
        Kind::Byte(byte) => Some((byte, id)),
        _ => None,
    }));
    let unknown =
        parts.unk.or_else(|| tokens().find(|(_, id)| token_type(parts, *id) == 2).map(|(_, id)| id));
    let bpe = Bpe {
        atoms: Atoms::Characters(characters.collect()),
        merges: Merges::Scored(score_ranks(scores)),
        ignore_merges: false,
        byte_fallback: has_bytes(&bytes).then_some(bytes),
        unknown,
        fuse_unknown: true,
    };
    let splitter = Splitter::sentencepiece(parts.file, prefix)?;
    Tokenizer::assemble(table, bpe, splitter, added_tokens(parts), special_ids(parts, true)?)
}

/// Ranks by score, best first; equal scores share a rank.
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

fn token_table<'a>(
    parts: &GgufVocabulary<'a>,
    bytes: impl Fn(&'a str, Kind) -> Cow<'a, [u8]>,
) -> Result<Vocabulary> {
    let entries = parts.tokens.iter().zip(0u32..).map(|(&text, id)| {
        let kind = token_kind(parts, text, id)?;
        Ok(Entry { id, text: bytes(text, kind), kind })
    });
    Vocabulary::new(parts.file, TOKENS, entries.collect::<Result<Vec<_>>>()?)
}

fn token_type(parts: &GgufVocabulary<'_>, id: u32) -> i64 {
    parts.token_types.and_then(|types| types.get(id as usize)).copied().unwrap_or(1)
}

fn token_kind(parts: &GgufVocabulary<'_>, text: &str, id: u32) -> Result<Kind> {
    Ok(match token_type(parts, id) {
        1 if parts.token_types.is_none() && parts.model == "llama" => {
            parse_byte_token(text).map_or(Kind::Normal, Kind::Byte)
        }
        0 | 1 => Kind::Normal,
        2 | 3 => Kind::Control,
        4 => Kind::Added,
        5 => Kind::Absent,
        6 => match parse_byte_token(text) {
            Some(byte) => Kind::Byte(byte),
            None => {
                let message = format!("token {id} `{}` is a byte, expected `<0xNN>`", shown(text));
                return Err(Error::malformed(parts.file, TOKENS, message));
            }
        },
        found => {
            let message = format!("type {found} of token {id}, expected 0 to 6");
            return Err(Error::malformed(parts.file, TYPES, message));
        }
    })
}

/// Control and user-defined tokens.
fn added_tokens(parts: &GgufVocabulary<'_>) -> Vec<AddedToken> {
    let tokens = parts.tokens.iter().zip(0u32..);
    let added = tokens.filter_map(|(text, id)| {
        let special = match token_type(parts, id) {
            2 | 3 => true,
            4 => false,
            _ => return None,
        };
        Some(AddedToken { id, text: (*text).to_owned(), special, ..AddedToken::default() })
    });
    added.collect()
}

fn special_ids(parts: &GgufVocabulary<'_>, default_bos: bool) -> Result<SpecialIds> {
    let wanted = |wish: Option<bool>, default: bool, field: &str, id: Option<u32>| match (wish, id) {
        (Some(true), None) => {
            let message = "true, but the file names no such token";
            Err(Error::malformed(parts.file, &format!("tokenizer.ggml.{field}"), message))
        }
        (wish, id) => Ok(if wish.unwrap_or(default) { id.into_iter().collect() } else { Vec::new() }),
    };
    Ok(SpecialIds {
        bos: parts.bos,
        eos: parts.eos,
        unknown: parts.unk,
        pad: parts.pad,
        ends: parts.eot.into_iter().collect(),
        prefix: wanted(parts.add_bos, default_bos, "add_bos_token", parts.bos)?,
        suffix: wanted(parts.add_eos, false, "add_eos_token", parts.eos)?,
    })
}

/// A text cut short for a message.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}
