//! Builds a [`Tokenizer`] from the `tokenizer.ggml.*` metadata of a GGUF file.
//!
//! Two vocabulary models: `gpt2` is byte-level BPE with a list of merges and a pre-tokenizer named
//! by `tokenizer.ggml.pre`; `llama` is SentencePiece-style BPE, where spaces are written `▁`,
//! neighboring symbols merge by the score of the resulting token, and unknown characters fall back
//! to byte tokens. Missing keys have llama.cpp's defaults. Tokens that end a turn are control
//! tokens whatever type the file gives them, as in llama.cpp.

use std::borrow::Cow;
use std::collections::HashMap;

use super::added_tokens::{AddedToken, check_size};
use super::bpe::{BaseSymbols, Bpe, Merges, byte_table, has_bytes, merge_entry};
use super::decode_rule::{DecodeRule, DecodeStep};
use super::normalization::Normalization;
use super::pre_tokenizer::PreTokenizer;
use super::pre_tokenizer_patterns::{self as patterns, NamedPreTokenizer};
use super::turn_end_tokens::TurnEndTokens;
use super::vocabulary::{
    ByteAlphabet, Entry, MAX_MERGES, MAX_TOKENS, TokenKind, Vocabulary, parse_byte_token,
};
use super::{SpecialIds, Tokenizer};
use crate::error::{Error, Result, quoted};
use crate::weights::Metadata;
use crate::weights::metadata::Value;

const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const SCORES: &str = "tokenizer.ggml.scores";
const MERGES: &str = "tokenizer.ggml.merges";
const PRE: &str = "tokenizer.ggml.pre";
/// Values of `tokenizer.ggml.token_type`.
const TYPE_NORMAL: i64 = 1;
const TYPE_UNKNOWN: i64 = 2;
const TYPE_CONTROL: i64 = 3;
const TYPE_USER_DEFINED: i64 = 4;
const TYPE_UNUSED: i64 = 5;
const TYPE_BYTE: i64 = 6;
/// Maximum bytes of a token in a scored vocabulary: merging looks up whole candidate tokens.
const MAX_SCORED_BYTES: usize = 1 << 10;

/// The `tokenizer.ggml.*` metadata of a GGUF file.
#[derive(Debug, Clone, Copy, Default)]
pub struct GgufVocabulary<'a> {
    /// File name, for messages.
    pub file: &'a str,
    /// `general.architecture`, which determines the pre-tokenizer of some files without `pre`.
    pub architecture: Option<&'a str>,
    /// `model`: vocabulary model, `gpt2` or `llama`.
    pub model: &'a str,
    /// `pre`: name of the pre-tokenizer, for `gpt2`.
    pub pre: Option<&'a str>,
    /// `tokens`: text of each id.
    pub tokens: &'a [&'a str],
    /// `scores`: one per token, for `llama`.
    pub scores: Option<&'a [f32]>,
    /// `token_type`: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.
    pub token_types: Option<&'a [i64]>,
    /// `merges`: two token texts separated by a space, by ascending rank, for `gpt2`.
    pub merges: Option<&'a [&'a str]>,
    /// `bos_token_id`.
    pub bos: Option<u32>,
    /// `eos_token_id`.
    pub eos: Option<u32>,
    /// `eot_token_id`: end of turn.
    pub eot: Option<u32>,
    /// `eom_token_id`: end of message.
    pub eom: Option<u32>,
    /// `unknown_token_id`.
    pub unk: Option<u32>,
    /// `padding_token_id`.
    pub pad: Option<u32>,
    /// `add_bos_token`.
    pub add_bos: Option<bool>,
    /// `add_eos_token`.
    pub add_eos: Option<bool>,
    /// `add_space_prefix`: put a space before a text, for `llama`.
    pub add_space_prefix: Option<bool>,
}

impl Tokenizer {
    /// Builds a tokenizer from the metadata of an opened GGUF file. Errors: as for
    /// [`Tokenizer::from_gguf`]; `malformed` if a required key is missing.
    pub fn from_metadata(metadata: &Metadata) -> Result<Self> {
        read_metadata(metadata)
    }

    /// Builds a tokenizer from the vocabulary of a GGUF file.
    ///
    /// Errors: `malformed` if the vocabulary contradicts itself; `unsupported-format` for an
    /// unknown vocabulary model or pre-tokenizer.
    pub fn from_gguf(parts: GgufVocabulary<'_>) -> Result<Self> {
        read(&parts)
    }
}

fn read_metadata(metadata: &Metadata) -> Result<Tokenizer> {
    let missing =
        |key: &str| Error::malformed_value(metadata.file(), key, "nothing", "a vocabulary");
    let model =
        metadata.str("tokenizer.ggml.model")?.ok_or_else(|| missing("tokenizer.ggml.model"))?;
    check_counts(metadata)?;
    let tokens = metadata.strings(TOKENS)?.ok_or_else(|| missing(TOKENS))?;
    let (scores, token_types) = (metadata.f32s(SCORES)?, metadata.i64s(TYPES)?);
    let merges = metadata.strings(MERGES)?;
    // An id beyond 32 bits is outside every vocabulary.
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

fn read(parts: &GgufVocabulary<'_>) -> Result<Tokenizer> {
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
            let (field, found) = ("tokenizer.ggml.model", quoted(other));
            Err(Error::unsupported_value(parts.file, field, found, "gpt2 or llama"))
        }
    }
}

/// Refuses arrays that are too long or of different lengths before they are decoded.
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
    Err(Error::malformed_value(file, key, format!("{found} entries"), expected))
}

fn read_byte_level(parts: &GgufVocabulary<'_>) -> Result<Tokenizer> {
    let mut warnings = Vec::new();
    let NamedPreTokenizer { kind, ignore_merges, add_bos, .. } =
        named_pre_tokenizer(parts, &mut warnings)?;
    let pre_tokenizer = PreTokenizer::named(parts.file, PRE, kind)?;
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
    Ok(Tokenizer::assemble(vocabulary, bpe, normalization, pre_tokenizer, added, special, warnings))
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
        let expected = "the merges of a gpt2 vocabulary";
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
    let rule = DecodeRule {
        steps: vec![DecodeStep::Replace("▁".to_owned(), " ".to_owned())],
        strip_start: prefix.then_some((' ', 1)),
    };
    let vocabulary = vocabulary.with_decode_rule(parts.file, TOKENS, rule)?;
    let tokens = || parts.tokens.iter().zip(0u32..);
    let characters = tokens().filter_map(|(text, id)| {
        let mut characters = text.chars();
        let first = characters.next()?;
        let is_symbol = characters.next().is_none() && vocabulary.kind(id) == TokenKind::Normal;
        is_symbol.then_some((first, id))
    });
    let bytes = byte_table(tokens().filter_map(|(_, id)| match vocabulary.kind(id) {
        TokenKind::Byte(byte) => Some((byte, id)),
        _ => None,
    }));
    let mut warnings = Vec::new();
    let special = special_ids(parts, &ends, true, &mut warnings)?;
    let bpe = Bpe {
        symbols: BaseSymbols::Characters(characters.collect()),
        merges: Merges::Scored(score_ranks(scores)),
        ignore_merges: false,
        byte_fallback: has_bytes(&bytes).then_some(bytes),
        unknown: Ok(special.unknown),
        fuse_unknown: true,
    };
    let normalization = Normalization::sentencepiece(parts.file, prefix)?;
    let (pre_tokenizer, added) = (PreTokenizer::none(), added_tokens(parts, &ends)?);
    Ok(Tokenizer::assemble(vocabulary, bpe, normalization, pre_tokenizer, added, special, warnings))
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

fn read_vocabulary<'a>(
    parts: &GgufVocabulary<'a>,
    ends: &TurnEndTokens,
    bytes: impl Fn(&'a str, TokenKind) -> Cow<'a, [u8]>,
) -> Result<Vocabulary> {
    let entries = parts.tokens.iter().zip(0u32..).map(|(&text, id)| {
        let kind = token_kind(parts, ends, text, id)?;
        Ok(Entry { id, text: bytes(text, kind), kind })
    });
    Vocabulary::new(parts.file, TOKENS, entries.collect::<Result<Vec<_>>>()?)
}

/// Type of a token as in the file, except that turn ends are control tokens and that the exceptions
/// in [`TurnEndTokens`] are not.
fn token_type(parts: &GgufVocabulary<'_>, ends: &TurnEndTokens, id: u32) -> i64 {
    if ends.ids.contains(&id) {
        return TYPE_CONTROL;
    }
    let stated = parts.token_types.and_then(|types| types.get(id as usize));
    match stated.copied().unwrap_or(TYPE_NORMAL) {
        TYPE_UNKNOWN | TYPE_CONTROL if ends.message_end == Some(id) => TYPE_USER_DEFINED,
        TYPE_UNKNOWN | TYPE_CONTROL if ends.plain_text == Some(id) => TYPE_NORMAL,
        found => found,
    }
}

fn token_kind(
    parts: &GgufVocabulary<'_>,
    ends: &TurnEndTokens,
    text: &str,
    id: u32,
) -> Result<TokenKind> {
    Ok(match token_type(parts, ends, id) {
        TYPE_NORMAL if parts.token_types.is_none() && parts.model == "llama" => {
            parse_byte_token(text).map_or(TokenKind::Normal, TokenKind::Byte)
        }
        0 | TYPE_NORMAL => TokenKind::Normal,
        TYPE_UNKNOWN | TYPE_CONTROL => TokenKind::Control,
        TYPE_USER_DEFINED => TokenKind::Added,
        TYPE_UNUSED => TokenKind::Absent,
        TYPE_BYTE => match parse_byte_token(text) {
            Some(byte) => TokenKind::Byte(byte),
            None => {
                let found = format!("byte token {id} {}", quoted(text));
                return Err(Error::malformed_value(parts.file, TOKENS, found, "`<0xNN>`"));
            }
        },
        found => {
            let found = format!("type {found} of token {id}");
            return Err(Error::malformed_value(parts.file, TYPES, found, "0 to 6"));
        }
    })
}

/// Control and user-defined tokens.
fn added_tokens(parts: &GgufVocabulary<'_>, ends: &TurnEndTokens) -> Result<Vec<AddedToken>> {
    let tokens = parts.tokens.iter().zip(0u32..);
    let added = tokens.filter_map(|(text, id)| {
        let special = match token_type(parts, ends, id) {
            TYPE_UNKNOWN | TYPE_CONTROL => true,
            TYPE_USER_DEFINED => false,
            _ => return None,
        };
        Some(AddedToken { id, text: (*text).to_owned(), special, ..AddedToken::default() })
    });
    let added: Vec<AddedToken> = added.collect();
    check_size(parts.file, TOKENS, added.iter().map(|token| token.text.len()).sum())?;
    Ok(added)
}

/// Ids with special roles. An id outside the vocabulary counts as absent; it is `malformed` if the
/// file asks to add the token. Absent ids of a `llama` vocabulary have llama.cpp's defaults.
fn special_ids(
    parts: &GgufVocabulary<'_>,
    ends: &TurnEndTokens,
    default_bos: bool,
    warnings: &mut Vec<String>,
) -> Result<SpecialIds> {
    let known = |id: Option<u32>| id.filter(|&id| (id as usize) < parts.tokens.len());
    let default = |id: u32| known(Some(id)).filter(|_| parts.model == "llama");
    let bos = known(parts.bos).or(default(1));
    let eos = known(parts.eos).or(default(2));
    let mut added_ids =
        |flag: Option<bool>, default: bool, name: &str, stated: Option<u32>, id: Option<u32>| {
            if let (true, Some(id)) = (flag.unwrap_or(default), id) {
                return Ok(vec![id]);
            }
            if flag != Some(true) {
                return Ok(Vec::new());
            }
            let key = format!("tokenizer.ggml.add_{name}_token");
            let Some(stated) = stated else {
                let warning = "is true, but the file names no such token: none is added";
                warnings.push(format!("{}: {key} {warning}", parts.file));
                return Ok(Vec::new());
            };
            let field = format!("tokenizer.ggml.{name}_token_id");
            let expected =
                format!("less than {} because add_{name}_token is true", parts.tokens.len());
            Err(Error::malformed_value(parts.file, &field, stated, expected))
        };
    let prefix = added_ids(parts.add_bos, default_bos, "bos", parts.bos, bos)?;
    let suffix = added_ids(parts.add_eos, false, "eos", parts.eos, eos)?;
    let stop = ends.with_named([eos, known(parts.eot), known(parts.eom)].into_iter().flatten());
    let is_unknown = |id: &u32| {
        parts.token_types.and_then(|types| types.get(*id as usize)) == Some(&TYPE_UNKNOWN)
    };
    let unknown_type = (0..parts.tokens.len() as u32).find(is_unknown);
    let unknown = known(parts.unk).or(unknown_type).or(default(0));
    Ok(SpecialIds { bos, eos, unknown, pad: known(parts.pad), stop, prefix, suffix })
}
