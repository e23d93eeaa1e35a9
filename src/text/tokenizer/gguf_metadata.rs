//! The `tokenizer.ggml.*` metadata of a GGUF file, and how it is read.

use super::charsmap::MAX_CHARSMAP_BYTES;
use super::vocabulary::{MAX_MERGES, MAX_TOKENS};
use crate::error::{Error, Result};
use crate::weights::Metadata;
use crate::weights::metadata::Value;

pub(super) const TOKENS: &str = "tokenizer.ggml.tokens";
pub(super) const TYPES: &str = "tokenizer.ggml.token_type";
pub(super) const SCORES: &str = "tokenizer.ggml.scores";
pub(super) const MERGES: &str = "tokenizer.ggml.merges";
pub(super) const PRE: &str = "tokenizer.ggml.pre";
pub(super) const CHARSMAP: &str = "tokenizer.ggml.precompiled_charsmap";

/// The `tokenizer.ggml.*` metadata of a GGUF file.
#[derive(Debug, Clone, Copy, Default)]
pub struct GgufVocabulary<'a> {
    /// File name, for messages.
    pub file: &'a str,
    /// `general.architecture`, which determines the pre-tokenizer of some files without `pre`.
    pub architecture: Option<&'a str>,
    /// `model`: vocabulary model, `gpt2`, `llama`, `gemma4`, `bert` or `t5`.
    pub model: &'a str,
    /// `pre`: name of the pre-tokenizer, for `gpt2`.
    pub pre: Option<&'a str>,
    /// `tokens`: text of each id.
    pub tokens: &'a [&'a str],
    /// `scores`: one per token, for `llama` and `t5`.
    pub scores: Option<&'a [f32]>,
    /// `token_type`: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.
    pub token_types: Option<&'a [i64]>,
    /// `merges`: two token texts separated by a space, by ascending rank, for `gpt2`
    /// and `gemma4`.
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
    /// `cls_token_id`: start of a text, for `bert`.
    pub cls: Option<u32>,
    /// `seperator_token_id`: end of a text, for `bert`.
    pub sep: Option<u32>,
    /// `add_sep_token`, for `bert`.
    pub add_sep: Option<bool>,
    /// `normalizer.lowercase`, for `bert`.
    pub lowercase: Option<bool>,
    /// `normalizer.strip_accents`, for `bert`: as `lowercase` if absent.
    pub strip_accents: Option<bool>,
    /// `remove_extra_whitespaces`, for `t5`.
    pub remove_extra_whitespaces: Option<bool>,
    /// `precompiled_charsmap`: SentencePiece's map of characters, for `t5`.
    pub charsmap: Option<&'a [u8]>,
}

/// Passes the metadata of an opened file to `read`.
pub(super) fn read_metadata<T>(
    metadata: &Metadata,
    read: impl FnOnce(&GgufVocabulary<'_>) -> Result<T>,
) -> Result<T> {
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
    let charsmap = charsmap(metadata)?;
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
        cls: id("cls")?,
        sep: id("seperator")?,
        add_sep: flag("add_sep_token")?,
        lowercase: flag("normalizer.lowercase")?,
        strip_accents: flag("normalizer.strip_accents")?,
        remove_extra_whitespaces: flag("remove_extra_whitespaces")?,
        charsmap: charsmap.as_deref(),
    })
}

/// The map of characters, which converters write as signed or unsigned bytes.
fn charsmap(metadata: &Metadata) -> Result<Option<Vec<u8>>> {
    let Some(Value::Array(array)) = metadata.get(CHARSMAP) else { return Ok(None) };
    if array.len() > MAX_CHARSMAP_BYTES {
        let (found, expected) =
            (format!("{} entries", array.len()), format!("at most {MAX_CHARSMAP_BYTES}"));
        return Err(Error::malformed_value(metadata.file(), CHARSMAP, found, expected));
    }
    let bytes = metadata.i64s(CHARSMAP)?.into_iter().flatten();
    Ok(Some(bytes.map(|byte| byte as u8).collect()))
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

/// Refuses an array that is too long, or not as long as the list of tokens.
pub(super) fn check_count(
    file: &str,
    key: &str,
    found: Option<usize>,
    tokens: usize,
) -> Result<()> {
    let Some(found) = found else { return Ok(()) };
    let expected = match key {
        TOKENS if found > MAX_TOKENS => format!("at most {MAX_TOKENS}"),
        MERGES if found > MAX_MERGES => format!("at most {MAX_MERGES}"),
        TYPES | SCORES if found != tokens => format!("one for each of the {tokens} tokens"),
        _ => return Ok(()),
    };
    Err(Error::malformed_value(file, key, format!("{found} entries"), expected))
}
