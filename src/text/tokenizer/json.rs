//! Builds a [`Tokenizer`] from a Hugging Face `tokenizer.json` with a BPE, WordPiece or Unigram
//! model.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::added_tokens::{AddedToken, check_size};
use super::bpe::{BaseSymbols, Bpe, Merges, byte_table, merge_entry};
use super::components::MAX_GROWTH;
use super::normalization::Normalization;
use super::pre_tokenizer::PreTokenizer;
use super::subwords::SubwordModel;
use super::tokenizer_config::{AddedTokenJson, merge_added_tokens};
use super::tokenizer_json::{MergeList, Model, TokenizerJson};
use super::turn_end_tokens::TurnEndTokens;
use super::unigram::{Unigram, check_token};
use super::vocabulary::{
    ByteAlphabet, Entry, MAX_TOKEN_BYTES, MAX_TOKENS, TokenKind, Vocabulary, byte_characters,
    parse_byte_token,
};
use super::wordpiece::WordPiece;
use super::{SpecialIds, Tokenizer, decode_rule, post_processor};
use crate::error::{Error, Result, quoted};

/// Maximum characters of a word that WordPiece segments: ten times the usual number.
const MAX_WORDPIECE_CHARS: u64 = 1000;

impl Tokenizer {
    /// Builds a tokenizer from the bytes of a `tokenizer.json` and, if there is one, the parsed
    /// `tokenizer_config.json`; `file` is the name for messages.
    ///
    /// Errors: `malformed` if the file contradicts itself; `unsupported-format` for a model,
    /// normalizer, pre-tokenizer, post-processor or decoder that is not implemented.
    pub fn from_json(
        file: &str,
        tokenizer_json: &[u8],
        tokenizer_config: Option<&Value>,
    ) -> Result<Self> {
        read(file, tokenizer_json, tokenizer_config)
    }
}

fn read(file: &str, json: &[u8], config: Option<&Value>) -> Result<Tokenizer> {
    let parsed: TokenizerJson = crate::weights::json::parse(json)
        .map_err(|error| Error::malformed_value(file, "JSON", error, "a Hugging Face tokenizer"))?;
    let [normalizer, pre_tokenizer, post_processor, decoder] =
        [parsed.normalizer, parsed.pre_tokenizer, parsed.post_processor, parsed.decoder]
            .map(|part| part.map(|part| part.0).filter(|part| !part.is_null()));
    check_model(file, &parsed.model)?;
    let normalization = Normalization::from_json(file, normalizer.as_ref())?;
    let pre_tokenizer = PreTokenizer::from_json(file, pre_tokenizer.as_ref())?;
    let added = parsed.added_tokens.map(|list| list.0).unwrap_or_default();
    let added = merge_added_tokens(added, &parsed.model.vocab.tokens, config);
    let added = added_tokens(file, added, &normalization)?;
    let ids = Ids::read(file, &parsed.model.vocab.tokens, &added)?;
    let model = read_model(file, &parsed.model, &ids, pre_tokenizer.byte_level)?;
    let special = special_ids(file, &parsed.model, &ids, post_processor.as_ref(), config)?;
    drop(ids);
    let vocabulary =
        read_vocabulary(file, parsed.model.vocab.tokens, &added, &pre_tokenizer, &model)?;
    let rule = decode_rule::from_json(file, decoder.as_ref(), pre_tokenizer.byte_level)?;
    let vocabulary = vocabulary.with_decode_rule(file, "decoder", rule)?;
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

fn added_tokens(
    file: &str,
    added: Vec<AddedTokenJson>,
    normalization: &Normalization,
) -> Result<Vec<AddedToken>> {
    let field = "added_tokens";
    let mut tokens = Vec::with_capacity(added.len());
    let mut size_bytes = 0;
    for AddedTokenJson { id, content, single_word, lstrip, rstrip, normalized, special } in added {
        if content.len() > MAX_TOKEN_BYTES {
            let found = format!("token {id} of {} bytes", content.len());
            let expected = format!("at most {MAX_TOKEN_BYTES}");
            return Err(Error::malformed_value(file, field, found, expected));
        }
        let normalized =
            if normalized { Some(normalization.apply(&content)?.into_owned()) } else { None };
        let token =
            AddedToken { id, text: content, normalized, special, single_word, lstrip, rstrip };
        size_bytes += token.form().len();
        check_size(file, field, size_bytes)?;
        tokens.push(token);
    }
    Ok(tokens)
}

fn check_model(file: &str, model: &Model) -> Result<()> {
    let kind = model.kind();
    if !matches!(kind, "BPE" | "WordPiece" | "Unigram") {
        let expected = "BPE, WordPiece or Unigram";
        return Err(Error::unsupported_value(file, "model.type", quoted(kind), expected));
    }
    match (&model.vocab.scores, kind) {
        (Some(_), "Unigram") => {}
        (None, "BPE" | "WordPiece") => {}
        (Some(_), _) => {
            let expected = "an object of texts and ids, as in BPE models";
            return Err(Error::unsupported_value(file, "model.vocab", "a list", expected));
        }
        (None, _) => {
            let expected = "a list of texts and scores";
            return Err(Error::malformed_value(file, "model.vocab", "an object", expected));
        }
    }
    if kind == "WordPiece" {
        return Ok(());
    }
    if model.dropout.is_some_and(|dropout| dropout != 0.0) {
        return Err(Error::unsupported_value(file, "model.dropout", "random merges", "none"));
    }
    let affixes = [
        ("model.continuing_subword_prefix", &model.continuing_subword_prefix),
        ("model.end_of_word_suffix", &model.end_of_word_suffix),
    ];
    for (field, affix) in affixes {
        if let Some(found) = affix.as_deref().filter(|affix| !affix.is_empty()) {
            return Err(Error::unsupported_value(file, field, quoted(found), "none"));
        }
    }
    Ok(())
}

/// Ids by text and texts by id.
struct Ids<'a> {
    /// Id of each text, and whether it is in the vocabulary (true) or only among added tokens.
    of_text: HashMap<&'a str, (u32, bool)>,
    /// Text of each id.
    texts: Vec<Option<&'a str>>,
}

impl<'a> Ids<'a> {
    /// Refuses ids beyond the limit, texts with two ids and ids with two texts.
    fn read(file: &str, tokens: &'a [(String, u32)], added: &'a [AddedToken]) -> Result<Self> {
        let all = tokens.iter().map(|(text, id)| (text.as_str(), *id, true));
        let added = added.iter().map(|token| (token.text.as_str(), token.id, false));
        let mut ids = Self { of_text: HashMap::with_capacity(tokens.len()), texts: Vec::new() };
        for (text, id, is_model) in all.chain(added) {
            let field = if is_model { "model.vocab" } else { "added_tokens" };
            let malformed = |found: String, expected: String| {
                Err(Error::malformed_value(file, field, found, expected))
            };
            if id as usize >= MAX_TOKENS {
                let found = format!("token {} with the id {id}", quoted(text));
                return malformed(found, format!("less than {MAX_TOKENS}"));
            }
            // An added token may repeat a token of the vocabulary with the same id.
            let before = ids.of_text.insert(text, (id, is_model));
            let other = before.filter(|&(other, was_model)| other != id || was_model == is_model);
            if let Some((other, _)) = other {
                let found = format!("token {} with the ids {other} and {id}", quoted(text));
                return malformed(found, "one id".to_owned());
            }
            if before.is_some() {
                ids.of_text.insert(text, (id, true));
            }
            if ids.texts.len() <= id as usize {
                ids.texts.resize(id as usize + 1, None);
            }
            let slot = ids.texts.get_mut(id as usize);
            if let Some(other) =
                slot.and_then(|slot| slot.replace(text)).filter(|&other| other != text)
            {
                let found = format!("id {id} for {} and {}", quoted(other), quoted(text));
                return malformed(found, "one token".to_owned());
            }
        }
        Ok(ids)
    }

    fn of(&self, text: &str) -> Option<u32> {
        self.of_text.get(text).map(|&(id, _)| id)
    }

    /// Id of a text in the vocabulary, added tokens excluded.
    fn of_model(&self, text: &str) -> Option<u32> {
        self.of_text.get(text).filter(|&&(_, is_model)| is_model).map(|&(id, _)| id)
    }

    fn has(&self, id: u32) -> bool {
        matches!(self.texts.get(id as usize), Some(Some(_)))
    }
}

impl Model {
    /// Kind of the model; old files do not state it.
    fn kind(&self) -> &str {
        let implied = match (&self.vocab.scores, &self.merges) {
            (Some(_), _) => "Unigram",
            (None, Some(_)) => "BPE",
            (None, None) => "unnamed",
        };
        self.kind.as_deref().unwrap_or(implied)
    }

    /// Id of `unk_token`, if the model has one. The error is for texts that need the token.
    fn unknown(&self, file: &str, ids: &Ids<'_>) -> Result<Option<u32>> {
        let Some(text) = &self.unk_token else { return Ok(None) };
        let expected = "a token of it because the text needs the unknown token";
        ids.of_model(text).map(Some).ok_or_else(|| {
            let found = format!("{}, which is not in the vocabulary", quoted(text));
            Error::malformed_value(file, "model.unk_token", found, expected)
        })
    }
}

/// The segmentation of a checked model.
fn read_model(file: &str, model: &Model, ids: &Ids<'_>, byte_level: bool) -> Result<SubwordModel> {
    if let Some(scores) = &model.vocab.scores {
        return read_unigram(file, model, scores).map(SubwordModel::Unigram);
    }
    if model.kind() == "BPE" {
        return read_bpe(file, model, ids, byte_level).map(SubwordModel::Bpe);
    }
    let max_chars = model.max_input_chars_per_word.unwrap_or(100);
    if max_chars > MAX_WORDPIECE_CHARS {
        let field = "model.max_input_chars_per_word";
        let expected = format!("at most {MAX_WORDPIECE_CHARS}");
        return Err(Error::unsupported_value(file, field, max_chars, expected));
    }
    let next = model.continuing_subword_prefix.as_deref().unwrap_or("##");
    if next.len() > MAX_GROWTH {
        let found = format!("{} bytes", next.len());
        let expected = format!("at most {MAX_GROWTH}");
        let field = "model.continuing_subword_prefix";
        return Err(Error::unsupported_value(file, field, found, expected));
    }
    Ok(SubwordModel::WordPiece(WordPiece {
        first: "",
        next: next.to_owned(),
        max_chars: max_chars as usize,
        unknown: model.unknown(file, ids),
    }))
}

fn read_unigram(file: &str, model: &Model, scores: &[f64]) -> Result<Unigram> {
    if let Some(id) = scores.iter().position(|score| !score.is_finite()) {
        let found = format!("{} for token {id}", scores.get(id).copied().unwrap_or(f64::NAN));
        return Err(Error::malformed_value(file, "model.vocab", found, "a finite score"));
    }
    for (text, id) in &model.vocab.tokens {
        check_token(file, "model.vocab", *id as usize, text.len())?;
    }
    if let Some(id) = model.unk_id.filter(|&id| id >= scores.len() as u64) {
        let expected = format!("less than the {} tokens", scores.len());
        return Err(Error::malformed_value(file, "model.unk_id", id, expected));
    }
    Ok(Unigram {
        scores: scores.to_vec(),
        lowest: scores.iter().copied().fold(f64::INFINITY, f64::min),
        unknown: model.unk_id.map(|id| id as u32),
        byte_fallback: byte_fallback(model),
    })
}

/// Byte tokens, if the model falls back to them.
fn byte_fallback(model: &Model) -> Option<Box<[u32; 256]>> {
    model.byte_fallback.unwrap_or(false).then(|| {
        let tokens = model.vocab.tokens.iter();
        byte_table(tokens.filter_map(|(text, id)| Some((parse_byte_token(text)?, *id))))
    })
}

fn read_bpe(file: &str, model: &Model, ids: &Ids<'_>, byte_level: bool) -> Result<Bpe> {
    let mut ranks = HashMap::with_capacity(model.merges.as_ref().map_or(0, MergeList::len));
    let mut joined = String::new();
    for (rank, pair) in model.merges.iter().flat_map(MergeList::pairs).enumerate() {
        let (pair, merged) =
            merge_entry(file, "model.merges", rank, pair, &mut joined, |text| ids.of_model(text))?;
        ranks.insert(pair, (rank as u32, merged));
    }
    let symbols = if byte_level {
        let bytes = (0..=255u8).zip(byte_characters());
        let id = |character: char| ids.of_model(character.encode_utf8(&mut [0; 4]));
        let pairs = bytes.filter_map(|(byte, character)| Some((byte, id(character)?)));
        BaseSymbols::Bytes(byte_table(pairs))
    } else {
        let single = model.vocab.tokens.iter().filter_map(|(text, id)| {
            let mut characters = text.chars();
            let first = characters.next()?;
            characters.next().is_none().then_some((first, *id))
        });
        BaseSymbols::Characters(single.collect())
    };
    Ok(Bpe {
        symbols,
        merges: Merges::Ranked(ranks),
        ignore_merges: model.ignore_merges.unwrap_or(false),
        byte_fallback: byte_fallback(model).filter(|_| !byte_level),
        unknown: model.unknown(file, ids),
        fuse_unknown: model.fuse_unk.unwrap_or(false),
    })
}

fn read_vocabulary(
    file: &str,
    tokens: Vec<(String, u32)>,
    added: &[AddedToken],
    pre_tokenizer: &PreTokenizer,
    model: &SubwordModel,
) -> Result<Vocabulary> {
    let alphabet = ByteAlphabet::new();
    // Added tokens are also decoded as bytes where possible, as Hugging Face's decoders do.
    let bytes = |text| {
        if pre_tokenizer.byte_level {
            alphabet.decode(text)
        } else {
            Cow::Borrowed(text.as_bytes())
        }
    };
    let added_ids: HashSet<u32> = added.iter().map(|token| token.id).collect();
    let mut entries = Vec::with_capacity(tokens.len() + added.len());
    for token in added {
        let kind = if token.special { TokenKind::Control } else { TokenKind::Added };
        entries.push(Entry { id: token.id, text: bytes(token.form()), kind });
    }
    for (text, id) in tokens.iter().filter(|(_, id)| !added_ids.contains(id)) {
        let byte = model.byte_fallback().and_then(|_| parse_byte_token(text));
        let kind = byte.map_or(TokenKind::Normal, TokenKind::Byte);
        entries.push(Entry { id: *id, text: bytes(text), kind });
    }
    Vocabulary::new(file, "model.vocab", entries)
}

/// Ids with special roles: prefix and suffix from the post-processor, the other roles from
/// `tokenizer_config.json`, whose `add_bos_token` and `add_eos_token` take precedence.
fn special_ids(
    file: &str,
    model: &Model,
    ids: &Ids<'_>,
    post_processor: Option<&Value>,
    config: Option<&Value>,
) -> Result<SpecialIds> {
    let role = |key: &str| {
        let value = config.and_then(|config| config.get(key))?;
        let text = value.as_str().or_else(|| value.get("content").and_then(Value::as_str))?;
        ids.of(text)
    };
    let (prefix, suffix) = match post_processor {
        Some(value) => post_processor::surrounding_ids(file, value)?,
        None => (Vec::new(), Vec::new()),
    };
    if let Some(id) = prefix.iter().chain(&suffix).find(|id| !ids.has(**id)) {
        let (found, expected) = (format!("id {id}"), "an id of the vocabulary");
        return Err(Error::malformed_value(file, "post_processor", found, expected));
    }
    let eos = role("eos_token");
    let texts = ids.texts.iter().map(|text| text.unwrap_or("").as_bytes());
    let mut special = SpecialIds {
        bos: role("bos_token"),
        eos,
        unknown: role("unk_token")
            .or_else(|| model.unk_token.as_deref().and_then(|text| ids.of(text)))
            .or(model.unk_id.and_then(|id| u32::try_from(id).ok()).filter(|&id| ids.has(id))),
        pad: role("pad_token"),
        stop: TurnEndTokens::find(texts).with_named(eos.into_iter()),
        prefix,
        suffix,
    };
    let flag = |key: &str| config.and_then(|config| config.get(key)).and_then(Value::as_bool);
    if let (Some(is_added), Some(bos)) = (flag("add_bos_token"), special.bos) {
        special.prefix.retain(|&id| id != bos);
        if is_added {
            special.prefix.insert(0, bos);
        }
    }
    if let (Some(is_added), Some(eos)) = (flag("add_eos_token"), special.eos) {
        special.suffix.retain(|&id| id != eos);
        if is_added {
            special.suffix.push(eos);
        }
    }
    if special.bos.is_none() && special.prefix.len() == 1 {
        special.bos = special.prefix.first().copied();
    }
    Ok(special)
}
