//! The tokenizer of a `tokenizer.json`, as Hugging Face writes it.
//!
//! Only BPE models: the ones language models ship. The file is read piece by piece into what is
//! needed, never as a tree of the whole: vocabularies make it tens of megabytes.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::added::{AddedToken, check_size};
use super::bounded::{AtMost, Small};
use super::bpe::{Atoms, Bpe, byte_table};
use super::split::{Splitter, kind, members, unsupported};
use super::stated::AddedJson;
use super::tokenizer::{SpecialIds, Tokenizer};
use super::tokenizer_gguf::{MAX_MERGES, merge_entry, shown, unknown_in_merge};
use super::turns::TurnEnds;
use super::vocabulary::{
    ByteAlphabet, Entry, Kind, MAX_TOKEN_BYTES, MAX_TOKENS, Vocabulary, byte_characters,
    parse_byte_token,
};
use super::{bpe, decoding, stated};
use crate::error::{Error, Result};

/// Most ids before a text and after one.
const MAX_SURROUNDING: usize = 64;

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Option<AtMost<AddedJson, MAX_TOKENS>>,
    #[serde(default)]
    normalizer: Option<Small>,
    #[serde(default)]
    pre_tokenizer: Option<Small>,
    #[serde(default)]
    post_processor: Option<Small>,
    #[serde(default)]
    decoder: Option<Small>,
    model: Model,
}

#[derive(Deserialize)]
struct Model {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    vocab: Vocab,
    #[serde(default)]
    merges: Option<Merges>,
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
            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<Vocab, A::Error> {
                let mut tokens = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    if tokens.len() == MAX_TOKENS {
                        return Err(A::Error::custom(format!("more than {MAX_TOKENS} tokens")));
                    }
                    tokens.push(entry);
                }
                Ok(Vocab { tokens, is_list: false })
            }
            fn visit_seq<A: SeqAccess<'de>>(
                self,
                mut list: A,
            ) -> std::result::Result<Vocab, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Vocab { tokens: Vec::new(), is_list: true })
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// Merges, each `["a", "b"]`, or `"a b"` in older files: texts one after another, and where the two
/// of each end.
#[derive(Default)]
struct Merges {
    texts: String,
    ends: Vec<(u32, u32)>,
}

impl Merges {
    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let text =
            |start: u32, end: u32| self.texts.get(start as usize..end as usize).unwrap_or("");
        let mut start = 0;
        self.ends.iter().map(move |&(middle, end)| {
            let pair = (text(start, middle), text(middle, end));
            start = end;
            pair
        })
    }
}

impl<'de> Deserialize<'de> for Merges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Merges;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {MAX_MERGES} merges")
            }
            fn visit_seq<A: SeqAccess<'de>>(
                self,
                mut list: A,
            ) -> std::result::Result<Merges, A::Error> {
                let mut merges = Merges::default();
                while list.next_element_seed(OneMerge(&mut merges))?.is_some() {
                    if merges.ends.len() > MAX_MERGES {
                        return Err(A::Error::invalid_length(merges.ends.len(), &self));
                    }
                }
                Ok(merges)
            }
        }
        deserializer.deserialize_seq(Reader)
    }
}

/// Where the next merge goes.
struct OneMerge<'a>(&'a mut Merges);

impl<'de> DeserializeSeed<'de> for OneMerge<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for OneMerge<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("two tokens")
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> std::result::Result<(), E> {
        let invalid = || E::invalid_value(serde::de::Unexpected::Str(text), &self);
        let (left, right) = text.split_once(' ').ok_or_else(invalid)?;
        self.0.texts.push_str(left);
        let middle = self.0.texts.len() as u32;
        self.0.texts.push_str(right);
        self.0.ends.push((middle, self.0.texts.len() as u32));
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<(), A::Error> {
        let mut ends = [0; 2];
        for (index, end) in ends.iter_mut().enumerate() {
            let text = list.next_element_seed(Append(&mut self.0.texts))?;
            text.ok_or_else(|| {
                A::Error::custom(format!("a merge of {index} tokens, expected two"))
            })?;
            *end = self.0.texts.len() as u32;
        }
        if list.next_element::<IgnoredAny>()?.is_some() {
            return Err(A::Error::custom("a merge of three tokens or more, expected two"));
        }
        self.0.ends.push((ends[0], ends[1]));
        Ok(())
    }
}

/// Where a text goes.
struct Append<'a>(&'a mut String);

impl<'de> DeserializeSeed<'de> for Append<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Append<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a token")
    }
    fn visit_str<E>(self, text: &str) -> std::result::Result<(), E> {
        self.0.push_str(text);
        Ok(())
    }
}

pub(super) fn read(file: &str, json: &[u8], config: Option<&Value>) -> Result<Tokenizer> {
    let parsed: File = crate::weights::json::parse(json).map_err(|error| {
        Error::malformed(file, "JSON", format!("{error}, expected a Hugging Face tokenizer"))
    })?;
    let [normalizer, pre_tokenizer, post_processor, decoder] =
        [parsed.normalizer, parsed.pre_tokenizer, parsed.post_processor, parsed.decoder]
            .map(|part| part.map(|part| part.0).filter(|part| !part.is_null()));
    check_model(file, &parsed.model)?;
    let splitter = Splitter::from_json(file, normalizer.as_ref(), pre_tokenizer.as_ref())?;
    let added = parsed.added_tokens.map(|list| list.0).unwrap_or_default();
    let added = stated::complete(added, &parsed.model.vocab.tokens, config);
    let added = added_tokens(file, added, &splitter)?;
    let ids = Ids::read(file, &parsed.model.vocab.tokens, &added)?;
    let bpe = merging(file, &parsed.model, &ids, splitter.byte_level)?;
    let special = special_ids(file, &parsed.model, &ids, post_processor.as_ref(), config)?;
    drop(ids);
    let table = token_table(file, parsed.model.vocab.tokens, &added, &splitter, &bpe)?;
    let rule = decoding::rule(file, decoder.as_ref(), splitter.byte_level)?;
    let table = table.decoding(file, "decoder", rule)?;
    Tokenizer::assemble(table, bpe, splitter, added, special, Vec::new())
}

fn added_tokens(file: &str, added: Vec<AddedJson>, splitter: &Splitter) -> Result<Vec<AddedToken>> {
    let field = "added_tokens";
    let mut tokens = Vec::with_capacity(added.len());
    let mut size_bytes = 0;
    for AddedJson { id, content, single_word, lstrip, rstrip, normalized, special } in added {
        let found = content.len();
        if found > MAX_TOKEN_BYTES {
            let message =
                format!("token {id} has {found} bytes, expected at most {MAX_TOKEN_BYTES}");
            return Err(Error::malformed(file, field, message));
        }
        let normalized =
            if normalized { Some(splitter.normalize(&content)?.into_owned()) } else { None };
        let token =
            AddedToken { id, text: content, normalized, special, single_word, lstrip, rstrip };
        size_bytes += token.form().len();
        check_size(file, field, size_bytes)?;
        tokens.push(token);
    }
    Ok(tokens)
}

fn check_model(file: &str, model: &Model) -> Result<()> {
    let found =
        model.kind.as_deref().unwrap_or(if model.merges.is_some() { "BPE" } else { "unnamed" });
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

/// Which text has which id.
struct Ids<'a> {
    /// The id of each text, and whether it is in the vocabulary or only added.
    of_text: HashMap<&'a str, (u32, bool)>,
    /// The text of each id.
    texts: Vec<Option<&'a str>>,
}

impl<'a> Ids<'a> {
    /// Refuses ids past the limit and a text or id that stands for two tokens.
    fn read(file: &str, tokens: &'a [(String, u32)], added: &'a [AddedToken]) -> Result<Self> {
        let all = tokens.iter().map(|(text, id)| (text.as_str(), *id, true));
        let added = added.iter().map(|token| (token.text.as_str(), token.id, false));
        let mut ids = Self { of_text: HashMap::with_capacity(tokens.len()), texts: Vec::new() };
        for (text, id, is_model) in all.chain(added) {
            let field = if is_model { "model.vocab" } else { "added_tokens" };
            let malformed = |message| Err(Error::malformed(file, field, message));
            if id as usize >= MAX_TOKENS {
                let token = shown(text);
                return malformed(format!(
                    "token `{token}` has the id {id}, expected less than {MAX_TOKENS}"
                ));
            }
            // An added token may repeat one of the vocabulary, under the same id.
            let before = ids.of_text.insert(text, (id, is_model));
            let other = before.filter(|&(other, was_model)| other != id || was_model == is_model);
            if let Some((other, _)) = other {
                return malformed(format!(
                    "token `{}` has the ids {other} and {id}, expected one",
                    shown(text)
                ));
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
                let (other, text) = (shown(other), shown(text));
                return malformed(format!("id {id} is `{other}` and `{text}`, expected one token"));
            }
        }
        Ok(ids)
    }

    fn of(&self, text: &str) -> Option<u32> {
        self.of_text.get(text).map(|&(id, _)| id)
    }

    /// The id of a text of the vocabulary that is merged.
    fn of_model(&self, text: &str) -> Option<u32> {
        self.of_text.get(text).filter(|&&(_, is_model)| is_model).map(|&(id, _)| id)
    }

    fn has(&self, id: u32) -> bool {
        matches!(self.texts.get(id as usize), Some(Some(_)))
    }
}

fn merging(file: &str, model: &Model, ids: &Ids<'_>, byte_level: bool) -> Result<Bpe> {
    let mut ranks =
        HashMap::with_capacity(model.merges.as_ref().map_or(0, |merges| merges.ends.len()));
    let mut joined = String::new();
    for (rank, (left, right)) in model.merges.iter().flat_map(Merges::pairs).enumerate() {
        let (pair, product) = merge_entry(|text| ids.of_model(text), left, right, &mut joined)
            .map_err(|missing| unknown_in_merge(file, "model.merges", rank, &missing))?;
        ranks.insert(pair, (rank as u32, product));
    }
    let unknown = match &model.unk_token {
        Some(text) => ids.of_model(text).map(Some).ok_or_else(|| {
            let message =
                format!("`{}` is not in the vocabulary, and a text needs it", shown(text));
            Error::malformed(file, "model.unk_token", message)
        }),
        None => Ok(None),
    };
    let atoms = if byte_level {
        let bytes = (0..=255u8).zip(byte_characters());
        let id = |character: char| ids.of_model(character.encode_utf8(&mut [0; 4]));
        Atoms::Bytes(byte_table(bytes.filter_map(|(byte, character)| Some((byte, id(character)?)))))
    } else {
        let single = model.vocab.tokens.iter().filter_map(|(text, id)| {
            let mut characters = text.chars();
            characters
                .next()
                .filter(|_| characters.next().is_none())
                .map(|character| (character, *id))
        });
        Atoms::Characters(single.collect())
    };
    let fallback = (!byte_level && model.byte_fallback.unwrap_or(false)).then(|| {
        let bytes =
            model.vocab.tokens.iter().filter_map(|(text, id)| Some((parse_byte_token(text)?, *id)));
        byte_table(bytes)
    });
    Ok(Bpe {
        atoms,
        merges: bpe::Merges::Ranked(ranks),
        ignore_merges: model.ignore_merges.unwrap_or(false),
        byte_fallback: fallback,
        unknown,
        fuse_unknown: model.fuse_unk.unwrap_or(false),
    })
}

fn token_table(
    file: &str,
    tokens: Vec<(String, u32)>,
    added: &[AddedToken],
    splitter: &Splitter,
    bpe: &Bpe,
) -> Result<Vocabulary> {
    let alphabet = ByteAlphabet::new();
    // Added tokens too are taken for bytes where they can be: decoders see no difference.
    let bytes = |text| {
        if splitter.byte_level { alphabet.decode(text) } else { Cow::Borrowed(text.as_bytes()) }
    };
    let added_ids: HashSet<u32> = added.iter().map(|token| token.id).collect();
    let mut entries = Vec::with_capacity(tokens.len() + added.len());
    for token in added {
        let kind = if token.special { Kind::Control } else { Kind::Added };
        entries.push(Entry { id: token.id, text: bytes(token.form()), kind });
    }
    for (text, id) in tokens.iter().filter(|(_, id)| !added_ids.contains(id)) {
        let byte = bpe.byte_fallback.as_ref().and_then(|_| parse_byte_token(text));
        let kind = byte.map_or(Kind::Normal, Kind::Byte);
        entries.push(Entry { id: *id, text: bytes(text), kind });
    }
    Vocabulary::new(file, "model.vocab", entries)
}

/// Roles of ids: from the post-processor (what surrounds a text) and `tokenizer_config.json`
/// (which tokens begin and end one; whether to add them, which counts more).
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
    let (mut prefix, mut suffix) = (Vec::new(), Vec::new());
    if let Some(value) = post_processor {
        read_template(file, value, 0, &mut prefix, &mut suffix)?;
    }
    if let Some(id) = prefix.iter().chain(&suffix).find(|id| !ids.has(**id)) {
        return Err(Error::malformed(
            file,
            "post_processor",
            format!("id {id} is not in the vocabulary"),
        ));
    }
    let eos = role("eos_token");
    let texts = ids.texts.iter().map(|text| text.unwrap_or("").as_bytes());
    let mut special = SpecialIds {
        bos: role("bos_token"),
        eos,
        unknown: role("unk_token")
            .or_else(|| model.unk_token.as_deref().and_then(|text| ids.of(text))),
        pad: role("pad_token"),
        ends: TurnEnds::of(texts).with(eos.into_iter()),
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
                let entry =
                    value.get("special_tokens").and_then(|tokens| tokens.get(name.as_str()?));
                let ids = entry.map_or(&[][..], |entry| members(entry, "ids"));
                if ids.is_empty() || ids.len() > 16 {
                    let message = format!("`{name}` has {} ids, expected 1 to 16", ids.len());
                    return Err(Error::malformed(file, field, message));
                }
                for id in ids {
                    let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
                    let id = id.ok_or_else(|| {
                        Error::malformed(file, field, format!("`{name}` has a bad id"))
                    })?;
                    if after { suffix.push(id) } else { prefix.push(id) }
                }
                if prefix.len().max(suffix.len()) > MAX_SURROUNDING {
                    let message = format!("more than {MAX_SURROUNDING} ids before or after a text");
                    return Err(unsupported(file, field, message));
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
