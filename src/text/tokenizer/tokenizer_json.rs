//! The parts of a Hugging Face `tokenizer.json` that are read, as `serde` types.
//!
//! Vocabularies make the file tens of megabytes, so that it is parsed into these types directly,
//! never into a tree of JSON values.

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::bounded_json::{BoundedValue, BoundedVec};
use super::tokenizer_config::AddedTokenJson;
use super::vocabulary::{MAX_MERGES, MAX_TOKENS};

/// A `tokenizer.json`.
#[derive(Deserialize)]
pub(super) struct TokenizerJson {
    #[serde(default)]
    pub(super) added_tokens: Option<BoundedVec<AddedTokenJson, MAX_TOKENS>>,
    #[serde(default)]
    pub(super) normalizer: Option<BoundedValue>,
    #[serde(default)]
    pub(super) pre_tokenizer: Option<BoundedValue>,
    #[serde(default)]
    pub(super) post_processor: Option<BoundedValue>,
    #[serde(default)]
    pub(super) decoder: Option<BoundedValue>,
    pub(super) model: Model,
}

/// The `model` object: a BPE, WordPiece or Unigram model, or one that is refused.
#[derive(Deserialize)]
pub(super) struct Model {
    #[serde(default, rename = "type")]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) vocab: Vocab,
    #[serde(default)]
    pub(super) merges: Option<MergeList>,
    #[serde(default)]
    pub(super) dropout: Option<f64>,
    #[serde(default)]
    pub(super) unk_token: Option<String>,
    #[serde(default)]
    pub(super) continuing_subword_prefix: Option<String>,
    #[serde(default)]
    pub(super) end_of_word_suffix: Option<String>,
    #[serde(default)]
    pub(super) fuse_unk: Option<bool>,
    #[serde(default)]
    pub(super) byte_fallback: Option<bool>,
    #[serde(default)]
    pub(super) ignore_merges: Option<bool>,
    #[serde(default)]
    pub(super) max_input_chars_per_word: Option<u64>,
    #[serde(default)]
    pub(super) unk_id: Option<u64>,
}

/// The `vocab` object: token texts and ids. Unigram models have a list of texts and scores, whose
/// ids are their places.
#[derive(Default)]
pub(super) struct Vocab {
    pub(super) tokens: Vec<(String, u32)>,
    /// Score of each token, if it is a list.
    pub(super) scores: Option<Vec<f64>>,
}

impl<'de> Deserialize<'de> for Vocab {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct VocabVisitor;
        impl<'de> Visitor<'de> for VocabVisitor {
            type Value = Vocab;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tokens and ids, or a list of tokens and scores")
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
                Ok(Vocab { tokens, scores: None })
            }
            fn visit_seq<A: SeqAccess<'de>>(
                self,
                mut list: A,
            ) -> std::result::Result<Vocab, A::Error> {
                let (mut tokens, mut scores) = (Vec::new(), Vec::new());
                while let Some((text, score)) = list.next_element::<(String, f64)>()? {
                    if tokens.len() == MAX_TOKENS {
                        return Err(A::Error::custom(format!("more than {MAX_TOKENS} tokens")));
                    }
                    tokens.push((text, tokens.len() as u32));
                    scores.push(score);
                }
                Ok(Vocab { tokens, scores: Some(scores) })
            }
        }
        deserializer.deserialize_any(VocabVisitor)
    }
}

/// The merges, each `["a", "b"]`, or `"a b"` in older files.
#[derive(Default)]
pub(super) struct MergeList {
    /// The texts of all pairs, concatenated.
    texts: String,
    /// Ends of the left and the right text in `texts`, for each pair.
    ends: Vec<(u32, u32)>,
}

impl MergeList {
    /// Number of merges.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Left and right texts, by ascending rank.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
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

impl<'de> Deserialize<'de> for MergeList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct MergeListVisitor;
        impl<'de> Visitor<'de> for MergeListVisitor {
            type Value = MergeList;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {MAX_MERGES} merges")
            }
            fn visit_seq<A: SeqAccess<'de>>(
                self,
                mut list: A,
            ) -> std::result::Result<MergeList, A::Error> {
                let mut merges = MergeList::default();
                while list.next_element_seed(OneMerge(&mut merges))?.is_some() {
                    if merges.ends.len() > MAX_MERGES {
                        return Err(A::Error::invalid_length(merges.ends.len(), &self));
                    }
                }
                Ok(merges)
            }
        }
        deserializer.deserialize_seq(MergeListVisitor)
    }
}

/// Appends one merge to a list.
struct OneMerge<'a>(&'a mut MergeList);

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
                A::Error::custom(format!("a merge of {index} tokens instead of two"))
            })?;
            *end = self.0.texts.len() as u32;
        }
        if list.next_element::<IgnoredAny>()?.is_some() {
            return Err(A::Error::custom("a merge of three tokens or more instead of two"));
        }
        self.0.ends.push((ends[0], ends[1]));
        Ok(())
    }
}

/// Appends a string to another.
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
