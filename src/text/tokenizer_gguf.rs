//! The tokenizer of a GGUF file, from its `tokenizer.ggml.*` metadata.
//!
//! `gpt2` is byte-level with a list of merges, cut as `tokenizer.ggml.pre` names; `llama` is
//! SentencePiece-style: spaces escaped as `▁`, neighbors joined by the score of what they make,
//! single bytes as the way out. What a file leaves out is taken as llama.cpp takes it, and so are
//! tokens that end a turn, whatever type the file gives them.

use std::borrow::Cow;
use std::collections::HashMap;

use super::added::{AddedToken, check_size};
use super::bpe::{Atoms, Bpe, Merges, byte_table, has_bytes};
use super::cuts::{self, Named};
use super::split::{Splitter, unsupported};
use super::tokenizer::{SpecialIds, Tokenizer};
use super::turns::TurnEnds;
use super::vocabulary::{
    ByteAlphabet, DecodeRule, DecodeStep, Entry, Kind, MAX_TOKENS, Vocabulary, parse_byte_token,
};
use crate::error::{Error, Result};
use crate::weights::Metadata;
use crate::weights::metadata::Value;

const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const SCORES: &str = "tokenizer.ggml.scores";
const MERGES: &str = "tokenizer.ggml.merges";
const PRE: &str = "tokenizer.ggml.pre";
/// Most merges: a vocabulary of the most tokens, each made in four ways.
pub(super) const MAX_MERGES: usize = 4 * MAX_TOKENS;
/// Most bytes of a token that is found by its score: what is joined is compared with tokens whole.
const MAX_SCORED_BYTES: usize = 1 << 10;

/// The vocabulary as a GGUF file carries it: the metadata keys `tokenizer.ggml.*`.
#[derive(Debug, Clone, Copy, Default)]
pub struct GgufVocabulary<'a> {
    /// The file's name, for messages.
    pub file: &'a str,
    /// `general.architecture`, which may tell what a file without `pre` means.
    pub architecture: Option<&'a str>,
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
    /// `eom_token_id`: the end of a message.
    pub eom: Option<u32>,
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
    let missing =
        |key: &str| Error::malformed(metadata.file(), key, "missing, expected a vocabulary");
    let model =
        metadata.str("tokenizer.ggml.model")?.ok_or_else(|| missing("tokenizer.ggml.model"))?;
    check_counts(metadata)?;
    let tokens = metadata.strings(TOKENS)?.ok_or_else(|| missing(TOKENS))?;
    let (scores, token_types) = (metadata.f32s(SCORES)?, metadata.i64s(TYPES)?);
    let merges = metadata.strings(MERGES)?;
    // An id past 32 bits is outside of every vocabulary.
    let id = |name: &str| -> Result<Option<u32>> {
        let id = metadata.u64(&format!("tokenizer.ggml.{name}_token_id"))?;
        Ok(id.map(|id| u32::try_from(id).unwrap_or(u32::MAX)))
    };
    let flag = |name: &str| metadata.bool(&format!("tokenizer.ggml.{name}"));
    read(&GgufVocabulary {
        file: metadata.file(),
        architecture: metadata.str("general.architecture").unwrap_or(None),
        model,
        pre: metadata.str(PRE)?,
        tokens: &tokens,
        scores: scores.as_deref(),
        token_types: token_types.as_deref(),
        merges: merges.as_deref(),
        bos: id("bos")?,
        eos: id("eos")?,
        eot: id("eot")?,
        eom: id("eom")?,
        unk: id("unknown")?,
        pad: id("padding")?,
        add_bos: flag("add_bos_token")?,
        add_eos: flag("add_eos_token")?,
        add_space_prefix: flag("add_space_prefix")?,
    })
}

pub(super) fn read(parts: &GgufVocabulary<'_>) -> Result<Tokenizer> {
    let count = parts.tokens.len();
    let counts = [
        (TOKENS, Some(count)),
        (TYPES, parts.token_types.map(<[i64]>::len)),
        (SCORES, parts.scores.map(<[f32]>::len)),
        (MERGES, parts.merges.map(<[&str]>::len)),
    ];
    counts.into_iter().try_for_each(|(key, found)| check_count(parts.file, key, found, count))?;
    match parts.model {
        "gpt2" => read_byte_level(parts),
        "llama" => read_sentencepiece(parts),
        other => {
            let message = format!("`{}`, expected gpt2 or llama", shown(other));
            Err(unsupported(parts.file, "tokenizer.ggml.model", message))
        }
    }
}

/// Refuses arrays that are too long or do not match, before anything is read from them.
fn check_counts(metadata: &Metadata) -> Result<()> {
    let count = |key: &str| match metadata.get(key) {
        Some(Value::Array(array)) => Some(array.len()),
        _ => None,
    };
    let Some(tokens) = count(TOKENS) else { return Ok(()) };
    let mut keys = [TOKENS, TYPES, SCORES, MERGES].into_iter();
    keys.try_for_each(|key| check_count(metadata.file(), key, count(key), tokens))
}

fn check_count(file: &str, key: &str, found: Option<usize>, tokens: usize) -> Result<()> {
    let Some(found) = found else { return Ok(()) };
    let expected = match key {
        TOKENS if found > MAX_TOKENS => format!("at most {MAX_TOKENS}"),
        MERGES if found > MAX_MERGES => format!("at most {MAX_MERGES}"),
        TYPES | SCORES if found != tokens => format!("one for each of the {tokens} tokens"),
        _ => return Ok(()),
    };
    Err(Error::malformed(file, key, format!("{found} entries, expected {expected}")))
}

fn read_byte_level(parts: &GgufVocabulary<'_>) -> Result<Tokenizer> {
    let mut warnings = Vec::new();
    let Named { cut, ignore_merges, add_bos, .. } = named_cut(parts, &mut warnings)?;
    let splitter = Splitter::named(parts.file, PRE, cut)?;
    let alphabet = ByteAlphabet::new();
    let ends = TurnEnds::of(parts.tokens.iter().map(|text| text.as_bytes()));
    let table = token_table(parts, &ends, |text, kind| match kind {
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
        unknown: Ok(None),
        fuse_unknown: false,
    };
    let special = special_ids(parts, &ends, add_bos, &mut warnings)?;
    Tokenizer::assemble(table, bpe, splitter, added_tokens(parts, &ends)?, special, warnings)
}

/// What the file's `pre` stands for, or what is taken where it says nothing.
fn named_cut(parts: &GgufVocabulary<'_>, warnings: &mut Vec<String>) -> Result<Named> {
    let known = parts.architecture.and_then(cuts::of_architecture);
    let name = parts.pre.or(known).unwrap_or("default");
    if name == "default" {
        let found = if parts.pre.is_some() { "is `default`" } else { "is missing" };
        warnings.push(format!(
            "{}: {PRE} {found}: text is cut as llama.cpp cuts it then, which may not be how the model was \
             trained, and answers may be worse for it; a file converted anew names its cut",
            parts.file
        ));
    }
    cuts::of_name(parts.file, PRE, name)
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
    let mut joined = String::new();
    let mut ranks = HashMap::with_capacity(merges.len());
    for (rank, merge) in merges.iter().enumerate() {
        // A token may be a single space, so the space between is not the first character.
        let space = merge.char_indices().skip(1).find(|&(_, character)| character == ' ');
        let pair = space.and_then(|(at, _)| Some((merge.get(..at)?, merge.get(at + 1..)?)));
        let Some((left, right)) = pair else {
            let message = format!("merge {rank} `{}`, expected two tokens", shown(merge));
            return Err(Error::malformed(parts.file, MERGES, message));
        };
        let entry = merge_entry(|text| ids.get(text).copied(), left, right, &mut joined)
            .map_err(|missing| unknown_in_merge(parts.file, MERGES, rank, &missing))?;
        ranks.entry(entry.0).or_insert((rank as u32, entry.1));
    }
    Ok(ranks)
}

/// The ids of a merge and of what it makes; the text that is no token otherwise. `joined` is room.
pub(super) fn merge_entry(
    id: impl Fn(&str) -> Option<u32>,
    left: &str,
    right: &str,
    joined: &mut String,
) -> Result<((u32, u32), u32), String> {
    let id = |text: &str| match id(text) {
        Some(id) if !text.is_empty() => Ok(id),
        _ => Err(text.to_owned()),
    };
    let pair = (id(left)?, id(right)?);
    joined.clear();
    joined.push_str(left);
    joined.push_str(right);
    Ok((pair, id(joined)?))
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
    let ends = TurnEnds::of(parts.tokens.iter().map(|text| text.as_bytes()));
    let table = token_table(parts, &ends, |text, _| Cow::Borrowed(text.as_bytes()))?;
    if let Some(&id) = table.normal().iter().find(|&&id| table.text(id).len() > MAX_SCORED_BYTES) {
        let found = table.text(id).len();
        let message = format!("token {id} has {found} bytes, expected at most {MAX_SCORED_BYTES}");
        return Err(Error::malformed(parts.file, TOKENS, message));
    }
    let prefix = parts.add_space_prefix.unwrap_or(true);
    let rule = DecodeRule {
        steps: vec![DecodeStep::Replace("▁".to_owned(), " ".to_owned())],
        strip_start: prefix.then_some((' ', 1)),
    };
    let table = table.decoding(parts.file, TOKENS, rule)?;
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
    let mut warnings = Vec::new();
    let special = special_ids(parts, &ends, true, &mut warnings)?;
    let bpe = Bpe {
        atoms: Atoms::Characters(characters.collect()),
        merges: Merges::Scored(score_ranks(scores)),
        ignore_merges: false,
        byte_fallback: has_bytes(&bytes).then_some(bytes),
        unknown: Ok(special.unknown),
        fuse_unknown: true,
    };
    let splitter = Splitter::sentencepiece(parts.file, prefix)?;
    Tokenizer::assemble(table, bpe, splitter, added_tokens(parts, &ends)?, special, warnings)
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
    ends: &TurnEnds,
    bytes: impl Fn(&'a str, Kind) -> Cow<'a, [u8]>,
) -> Result<Vocabulary> {
    let entries = parts.tokens.iter().zip(0u32..).map(|(&text, id)| {
        let kind = token_kind(parts, ends, text, id)?;
        Ok(Entry { id, text: bytes(text, kind), kind })
    });
    Vocabulary::new(parts.file, TOKENS, entries.collect::<Result<Vec<_>>>()?)
}

/// The type of a token: the file's, but that what ends a turn is control, and what only looks like it
/// is none.
fn token_type(parts: &GgufVocabulary<'_>, ends: &TurnEnds, id: u32) -> i64 {
    if ends.ids.contains(&id) {
        return 3;
    }
    match parts.token_types.and_then(|types| types.get(id as usize)).copied().unwrap_or(1) {
        2 | 3 if ends.shown == Some(id) => 4,
        2 | 3 if ends.ordinary == Some(id) => 1,
        found => found,
    }
}

fn token_kind(parts: &GgufVocabulary<'_>, ends: &TurnEnds, text: &str, id: u32) -> Result<Kind> {
    Ok(match token_type(parts, ends, id) {
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
fn added_tokens(parts: &GgufVocabulary<'_>, ends: &TurnEnds) -> Result<Vec<AddedToken>> {
    let tokens = parts.tokens.iter().zip(0u32..);
    let added = tokens.filter_map(|(text, id)| {
        let special = match token_type(parts, ends, id) {
            2 | 3 => true,
            4 => false,
            _ => return None,
        };
        Some(AddedToken { id, text: (*text).to_owned(), special, ..AddedToken::default() })
    });
    let added: Vec<AddedToken> = added.collect();
    check_size(parts.file, TOKENS, added.iter().map(|token| token.text.len()).sum())?;
    Ok(added)
}

/// The roles that the file gives ids. One outside the vocabulary counts as absent, unless the file
/// says to use it; for absent ones llama.cpp's defaults are taken, where they can be meant.
fn special_ids(
    parts: &GgufVocabulary<'_>,
    ends: &TurnEnds,
    default_bos: bool,
    warnings: &mut Vec<String>,
) -> Result<SpecialIds> {
    let known = |id: Option<u32>| id.filter(|&id| (id as usize) < parts.tokens.len());
    let default = |id: u32| known(Some(id)).filter(|_| parts.model == "llama");
    let bos = known(parts.bos).or(default(1));
    let eos = known(parts.eos).or(default(2));
    let mut wanted = |wish: Option<bool>,
                      default: bool,
                      name: &str,
                      stated: Option<u32>,
                      id: Option<u32>| {
        match (wish.unwrap_or(default), id, stated) {
            (true, None, Some(stated)) if wish.is_some() => {
                let message =
                    format!("{stated}, expected less than the {} tokens, for it is to be added", parts.tokens.len());
                return Err(Error::malformed(parts.file, &format!("tokenizer.ggml.{name}_token_id"), message));
            }
            (true, None, None) if wish.is_some() => warnings.push(format!(
                "{}: tokenizer.ggml.add_{name}_token is true, but the file names no such token: none is added",
                parts.file
            )),
            (true, Some(id), _) => return Ok(vec![id]),
            _ => {}
        }
        Ok(Vec::new())
    };
    let prefix = wanted(parts.add_bos, default_bos, "bos", parts.bos, bos)?;
    let suffix = wanted(parts.add_eos, false, "eos", parts.eos, eos)?;
    let ends = ends.with([eos, known(parts.eot), known(parts.eom)].into_iter().flatten());
    let stated = (0..parts.tokens.len() as u32)
        .find(|&id| parts.token_types.and_then(|types| types.get(id as usize)) == Some(&2));
    let unknown = known(parts.unk).or(stated).or(default(0));
    Ok(SpecialIds { bos, eos, unknown, pad: known(parts.pad), ends, prefix, suffix })
}

/// A text cut short for a message.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}
