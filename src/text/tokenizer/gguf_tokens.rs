//! Tokens of a GGUF vocabulary by type, and tokens with special roles.

use std::borrow::Cow;

use super::SpecialIds;
use super::added_tokens::{AddedToken, check_size};
use super::bpe::{byte_table, has_bytes};
use super::gguf_metadata::{GgufVocabulary, TOKENS, TYPES};
use super::turn_end_tokens::TurnEndTokens;
use super::vocabulary::{Entry, TokenKind, Vocabulary, parse_byte_token};
use crate::error::{Error, Result, quoted};

/// Values of `tokenizer.ggml.token_type`.
const TYPE_NORMAL: i64 = 1;
const TYPE_UNKNOWN: i64 = 2;
const TYPE_CONTROL: i64 = 3;
const TYPE_USER_DEFINED: i64 = 4;
const TYPE_UNUSED: i64 = 5;
const TYPE_BYTE: i64 = 6;

/// The vocabulary, with the bytes that `bytes` gives for each text and kind.
pub(super) fn read_vocabulary<'a>(
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
        TYPE_NORMAL if parts.token_types.is_none() && parts.model != "gpt2" => {
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
pub(super) fn added_tokens(
    parts: &GgufVocabulary<'_>,
    ends: &TurnEndTokens,
) -> Result<Vec<AddedToken>> {
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
pub(super) fn special_ids(
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

/// Byte tokens of the vocabulary, if it has any.
pub(super) fn byte_tokens(
    parts: &GgufVocabulary<'_>,
    vocabulary: &Vocabulary,
) -> Option<Box<[u32; 256]>> {
    let ids = 0..parts.tokens.len() as u32;
    let bytes = byte_table(ids.filter_map(|id| match vocabulary.kind(id) {
        TokenKind::Byte(byte) => Some((byte, id)),
        _ => None,
    }));
    has_bytes(&bytes).then_some(bytes)
}
