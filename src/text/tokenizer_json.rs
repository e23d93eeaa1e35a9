//! The tokenizer of a `tokenizer.json`, as Hugging Face writes it.
//!
//! Only BPE models: the ones language models ship. The file is read piece by piece into what is
//! needed, never as a tree of the whole: vocabularies make it tens of megabytes.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::added::AddedToken;
use super::bpe::{Atoms, Bpe, Merges, byte_table};
use super::split::{Splitter, flag, kind, members, unsupported};
use super::tokenizer::{SpecialIds, Tokenizer};
use super::tokenizer_gguf::{merge_entry, shown, unknown_in_merge};
use super::vocabulary::{
    ByteAlphabet, DecodeRule, Entry, Kind, MAX_TOKENS, Vocabulary, byte_characters, parse_byte_token,
};
use crate::error::{Error, Result};

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Option<Vec<AddedJson>>,
    #[serde(default)]
    normalizer: Option<Value>,
    #[serde(default)]
    pre_tokenizer: Option<Value>,
    #[serde(default)]
    post_processor: Option<Value>,
    #[serde(default)]
    decoder: Option<Value>,
    model: Model,
}

#[derive(Deserialize)]
struct AddedJson {
    id: u32,
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    normalized: bool,
    #[serde(default)]
    special: bool,
}

#[derive(Deserialize)]
struct Model {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    vocab: Vocab,
    #[serde(default)]
    merges: Option<Vec<Merge>>,
    #[serde(default)]
    dropout: Option<f64>,
    #[serde(default)]
    unk_token: Option<String>,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    #[serde(default)]
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    fuse_unk: Option<bool>,
    #[serde(default)]
    byte_fallback: Option<bool>,
    #[serde(default)]
    ignore_merges: Option<bool>,
}

/// The vocabulary: texts with their ids. Other models have a list instead, which is passed over.
#[derive(Default)]
struct Vocab {
    tokens: Vec<(String, u32)>,
    is_list: bool,
}

impl<'de> Deserialize<'de> for Vocab {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Vocab;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tokens and ids")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Vocab, A::Error> {
                let mut tokens = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    tokens.push(entry);
                }
                Ok(Vocab { tokens, is_list: false })
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Vocab, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Vocab { tokens: Vec::new(), is_list: true })
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// A merge: `["a", "b"]`, or `"a b"` in older files.
struct Merge(String, String);

impl<'de> Deserialize<'de> for Merge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Merge;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("two tokens")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> std::result::Result<Merge, E> {
                let invalid = || E::invalid_value(serde::de::Unexpected::Str(text), &self);
                let (left, right) = text.split_once(' ').ok_or_else(invalid)?;
                Ok(Merge(left.to_owned(), right.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Merge, A::Error> {
                let left = list.next_element()?.ok_or_else(|| serde::de::Error::invalid_length(0, &self))?;
                let right = list.next_element()?.ok_or_else(|| serde::de::Error::invalid_length(1, &self))?;
                if list.next_element::<IgnoredAny>()?.is_some() {
                    return Err(serde::de::Error::invalid_length(3, &self));
                }
                Ok(Merge(left, right))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

pub(super) fn read(file: &str, json: &[u8], config: Option<&Value>) -> Result<Tokenizer> {
    let parsed: File = crate::weights::json::parse(json).map_err(|error| {
        Error::malformed(file, "JSON", format!("{error}, expected a Hugging Face tokenizer"))
    })?;
    check_model(file, &parsed.model)?;
    let splitter = Splitter::from_json(file, parsed.normalizer.as_ref(), parsed.pre_tokenizer.as_ref())?;
    let added = parsed.added_tokens.unwrap_or_default();
    check_ids(file, &parsed.model.vocab.tokens, &added)?;
    let ids: HashMap<&str, u32> =
        parsed.model.vocab.tokens.iter().map(|(text, id)| (text.as_str(), *id)).collect();
    let bpe = merging(file, &parsed.model, &ids, splitter.byte_level)?;
    let special = special_ids(file, &parsed.model, &ids, &added, parsed.post_processor.as_ref(), config)?;
    drop(ids);
    let mut table = token_table(file, parsed.model.vocab.tokens, &added, &splitter, &bpe)?;
    table.decode = decode_rule(file, parsed.decoder.as_ref(), splitter.byte_level)?;
    let added = added.into_iter().map(|token| AddedToken {
        id: token.id,
        text: token.content,
        special: token.special,
        normalized: token.normalized,
        single_word: token.single_word,
        lstrip: token.lstrip,
        rstrip: token.rstrip,
    });
    Tokenizer::assemble(table, bpe, splitter, added.collect(), special)
}

fn check_model(file: &str, model: &Model) -> Result<()> {
    let found = model.kind.as_deref().unwrap_or(if model.merges.is_some() { "BPE" } else { "unnamed" });
    if found != "BPE" || model.vocab.is_list {
        return Err(unsupported(file, "model.type", format!("`{}`, expected BPE", shown(found))));
    }
    if model.dropout.is_some_and(|dropout| dropout != 0.0) {
        return Err(unsupported(file, "model.dropout", "random merges, expected none"));
    }
    let affixes = [
        ("model.continuing_subword_prefix", &model.continuing_subword_prefix),
        ("model.end_of_word_suffix", &model.end_of_word_suffix),
    ];
    for (field, affix) in affixes {
        if let Some(found) = affix.as_deref().filter(|affix| !affix.is_empty()) {
            return Err(unsupported(file, field, format!("`{}`, expected none", shown(found))));
        }
    }
    Ok(())
}

/// Refuses ids past the limit and a text or id that stands for two tokens.
fn check_ids(file: &str, tokens: &[(String, u32)], added: &[AddedJson]) -> Result<()> {
    let all = tokens.iter().map(|(text, id)| (text, *id, "model.vocab"));
    let added = added.iter().map(|token| (&token.content, token.id, "added_tokens"));
    let mut texts = HashMap::with_capacity(tokens.len());
    let mut ids: HashMap<u32, &String> = HashMap::with_capacity(tokens.len());
    for (text, id, field) in all.chain(added) {
        if id as usize >= MAX_TOKENS {
            let message = format!("token `{}` has the id {id}, expected less than {MAX_TOKENS}", shown(text));
            return Err(Error::malformed(file, field, message));
        }
        // An added token may repeat one of the vocabulary, under the same id.
        let other = texts.insert(text, (id, field)).filter(|&before| before.0 != id || before.1 == field);
        if let Some((other, _)) = other {
            let message = format!("token `{}` has the ids {other} and {id}, expected one", shown(text));
            return Err(Error::malformed(file, field, message));
        }
        if let Some(other) = ids.insert(id, text).filter(|&other| other != text) {
            let message = format!("id {id} is `{}` and `{}`, expected one token", shown(other), shown(text));
            return Err(Error::malformed(file, field, message));
        }
    }
    Ok(())
}

fn merging(file: &str, model: &Model, ids: &HashMap<&str, u32>, byte_level: bool) -> Result<Bpe> {
    let mut ranks = HashMap::with_capacity(model.merges.as_ref().map_or(0, Vec::len));
    for (rank, Merge(left, right)) in model.merges.iter().flatten().enumerate() {
        let (pair, product) = merge_entry(ids, left, right)
            .map_err(|missing| unknown_in_merge(file, "model.merges", rank, &missing))?;
        ranks.insert(pair, (rank as u32, product));
    }
    let unknown = match &model.unk_token {
        Some(text) => Some(*ids.get(text.as_str()).ok_or_else(|| {
            Error::malformed(file, "model.unk_token", format!("`{}` is not in the vocabulary", shown(text)))
        })?),
        None => None,
    };
    let atoms = if byte_level {
        let bytes = (0..=255u8).zip(byte_characters());
        let id = |character: char| ids.get(character.encode_utf8(&mut [0; 4]) as &str).copied();
        Atoms::Bytes(byte_table(bytes.filter_map(|(byte, character)| Some((byte, id(character)?)))))
    } else {
        let single = ids.iter().filter_map(|(text, &id)| {
            let mut characters = text.chars();
            characters.next().filter(|_| characters.next().is_none()).map(|character| (character, id))
        });
        Atoms::Characters(single.collect())
    };
    let fallback = (!byte_level && model.byte_fallback.unwrap_or(false)).then(|| {
        let bytes = ids.iter().filter_map(|(text, &id)| Some((parse_byte_token(text)?, id)));
        byte_table(bytes)
    });
    Ok(Bpe {
        atoms,
        merges: Merges::Ranked(ranks),
        ignore_merges: model.ignore_merges.unwrap_or(false),
        byte_fallback: fallback,
        unknown,
        fuse_unknown: model.fuse_unk.unwrap_or(false),
    })
}

fn token_table(
    file: &str,
    tokens: Vec<(String, u32)>,
    added: &[AddedJson],
    splitter: &Splitter,
    bpe: &Bpe,
) -> Result<Vocabulary> {
    let alphabet = ByteAlphabet::new();
    let added_ids: HashSet<u32> = added.iter().map(|token| token.id).collect();
    let mut entries = Vec::with_capacity(tokens.len() + added.len());
    for token in added {
        let kind = if token.special { Kind::Control } else { Kind::Added };
        entries.push(Entry { id: token.id, text: Cow::Borrowed(token.content.as_bytes()), kind });
    }
    for (text, id) in tokens.iter().filter(|(_, id)| !added_ids.contains(id)) {
        let byte = bpe.byte_fallback.as_ref().and_then(|_| parse_byte_token(text));
        let kind = byte.map_or(Kind::Normal, Kind::Byte);
        let bytes = if splitter.byte_level { alphabet.decode(text) } else { Cow::Borrowed(text.as_bytes()) };
        entries.push(Entry { id: *id, text: bytes, kind });
    }
    Vocabulary::new(file, "model.vocab", entries)
}

/// How ids become text, from the `decoder`.
fn decode_rule(file: &str, decoder: Option<&Value>, byte_level: bool) -> Result<DecodeRule> {
    let mut rule = DecodeRule::default();
    match decoder {
        Some(value) if !value.is_null() => read_decoder(file, value, 0, byte_level, &mut rule)?,
        _ if byte_level => {}
        _ => {
            return Err(unsupported(
                file,
                "decoder",
                "none, expected one for a vocabulary that is not byte-level",
            ));
        }
    }
    Ok(rule)
}

fn read_decoder(
    file: &str,
    value: &Value,
    depth: usize,
    byte_level: bool,
    rule: &mut DecodeRule,
) -> Result<()> {
    let field = "decoder";
    let text = |value: Option<&Value>| {
        let text = value.and_then(Value::as_str).map(str::to_owned);
        text.ok_or_else(|| Error::malformed(file, field, format!("`{}` lacks a text", kind(value_of(value)))))
    };
    match kind(value) {
        "Sequence" if depth < 8 => {
            for member in members(value, "decoders") {
                read_decoder(file, member, depth + 1, byte_level, rule)?;
            }
        }
        "ByteLevel" if byte_level => {}
        // Bytes are put together and joined here whatever the file says.
        "ByteFallback" | "Fuse" => {}
        "Replace" if !byte_level && rule.replacements.len() < 16 => {
            let from = text(value.get("pattern").and_then(|pattern| pattern.get("String")))?;
            let to = text(value.get("content"))?;
            if from.is_empty() || to.len() > 64 {
                return Err(unsupported(file, field, "Replace of nothing, or by more than 64 bytes"));
            }
            rule.replacements.push((from, to));
        }
        "Strip" => {
            let mark = text(value.get("content"))?.chars().next();
            let count = value.get("start").and_then(Value::as_u64).unwrap_or(0);
            if value.get("stop").and_then(Value::as_u64).unwrap_or(0) != 0 {
                return Err(unsupported(file, field, "Strip at the end, expected only at the start"));
            }
            rule.strip_start = mark.map(|mark| (mark, count.min(64) as usize));
        }
        "Metaspace" if !byte_level => {
            let mark = value.get("replacement").and_then(Value::as_str).unwrap_or("▁");
            let never = value.get("prepend_scheme").and_then(Value::as_str) == Some("never")
                || flag(value, "add_prefix_space") == Some(false);
            rule.replacements.push((mark.to_owned(), " ".to_owned()));
            rule.strip_start = (!never).then_some((' ', 1));
        }
        other => {
            let known = "Sequence, ByteLevel, ByteFallback, Fuse, Replace, Strip, Metaspace";
            return Err(unsupported(file, field, format!("`{}`, expected one of {known}", shown(other))));
        }
    }
    Ok(())
}

/// A value for a message, where there may be none.
fn value_of(value: Option<&Value>) -> &Value {
    value.unwrap_or(&Value::Null)
}

/// Roles of ids: from the post-processor (what surrounds a text) and `tokenizer_config.json`
/// (which tokens begin and end one; whether to add them, which counts more).
fn special_ids(
    file: &str,
    model: &Model,
    ids: &HashMap<&str, u32>,
    added: &[AddedJson],
    post_processor: Option<&Value>,
    config: Option<&Value>,
) -> Result<SpecialIds> {
    let id_of = |text: &str| {
        let found = added.iter().find(|token| token.content == text).map(|token| token.id);
        found.or_else(|| ids.get(text).copied())
    };
    let role = |key: &str| {
        let value = config.and_then(|config| config.get(key))?;
        let text = value.as_str().or_else(|| value.get("content").and_then(Value::as_str))?;
        id_of(text)
    };
    let known = |id: &u32| added.iter().any(|token| token.id == *id) || ids.values().any(|found| found == id);
    let (mut prefix, mut suffix) = (Vec::new(), Vec::new());
    if let Some(value) = post_processor {
        read_template(file, value, 0, &mut prefix, &mut suffix)?;
    }
    if let Some(id) = prefix.iter().chain(&suffix).find(|id| !known(id)) {
        return Err(Error::malformed(file, "post_processor", format!("id {id} is not in the vocabulary")));
    }
    let mut special = SpecialIds {
        bos: role("bos_token"),
        eos: role("eos_token"),
        unknown: role("unk_token").or_else(|| model.unk_token.as_deref().and_then(id_of)),
        pad: role("pad_token"),
        ends: Vec::new(),
        prefix,
        suffix,
    };
    let wish = |key: &str| config.and_then(|config| config.get(key)).and_then(Value::as_bool);
    if let (Some(wish), Some(bos)) = (wish("add_bos_token"), special.bos) {
        special.prefix.retain(|&id| id != bos);
        if wish {
            special.prefix.insert(0, bos);
        }
    }
    if let (Some(wish), Some(eos)) = (wish("add_eos_token"), special.eos) {
        special.suffix.retain(|&id| id != eos);
        if wish {
            special.suffix.push(eos);
        }
    }
    if special.bos.is_none() && special.prefix.len() == 1 {
        special.bos = special.prefix.first().copied();
    }
    Ok(special)
}

/// What a post-processor puts before and after a single text.
fn read_template(
    file: &str,
    value: &Value,
    depth: usize,
    prefix: &mut Vec<u32>,
    suffix: &mut Vec<u32>,
) -> Result<()> {
    let field = "post_processor";
    match kind(value) {
        "Sequence" if depth < 8 => {
            for member in members(value, "processors") {
                read_template(file, member, depth + 1, prefix, suffix)?;
            }
            Ok(())
        }
        "TemplateProcessing" => {
            let mut after = false;
            for piece in members(value, "single") {
                let Some(name) = piece.get("SpecialToken").and_then(|token| token.get("id")) else {
                    after = true;
                    continue;
                };
                let entry = value.get("special_tokens").and_then(|tokens| tokens.get(name.as_str()?));
                let ids = entry.map_or(&[][..], |entry| members(entry, "ids"));
                if ids.is_empty() || ids.len() > 16 {
                    let message = format!("`{name}` has {} ids, expected 1 to 16", ids.len());
                    return Err(Error::malformed(file, field, message));
                }
                for id in ids {
                    let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
                    let id =
                        id.ok_or_else(|| Error::malformed(file, field, format!("`{name}` has a bad id")))?;
                    if after { suffix.push(id) } else { prefix.push(id) }
                }
            }
            Ok(())
        }
        // Changes offsets only.
        "ByteLevel" | "" => Ok(()),
        other => {
            let known = "Sequence, TemplateProcessing, ByteLevel";
            Err(unsupported(file, field, format!("`{}`, expected one of {known}", shown(other))))
        }
    }
}
