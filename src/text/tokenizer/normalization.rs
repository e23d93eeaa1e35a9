//! Normalization of text before pre-tokenization, with the normalizers of the `tokenizers` crate.

use std::borrow::Cow;

use serde_json::Value;
use tokenizers::normalizers::bert::BertNormalizer;
use tokenizers::normalizers::prepend::Prepend;
use tokenizers::normalizers::replace::{Replace, ReplacePattern};
use tokenizers::normalizers::strip::Strip;
use tokenizers::normalizers::unicode::{NFC, NFD, NFKC, NFKD};
use tokenizers::normalizers::utils::Lowercase;
use tokenizers::pipeline::{Normalizer, PipelineNormalizer};

use super::charsmap::Charsmap;
use super::components::{Component, MAX_GROWTH};
use crate::error::{Error, Result};

const FIELD: &str = "normalizer";
/// Maximum bytes of a normalized text.
const MAX_NORMALIZED_BYTES: usize = 3 << 23;

/// The normalizers of a tokenizer, applied in order.
#[derive(Debug)]
pub(super) struct Normalization {
    steps: Vec<PipelineNormalizer>,
    /// Factor by which a map of characters may lengthen a text.
    charsmap_growth: usize,
}

impl Normalization {
    /// Leaves text unchanged.
    pub(super) fn none() -> Self {
        Self { steps: Vec::new(), charsmap_growth: 1 }
    }

    /// SentencePiece's escape: spaces become `▁`, and with `prefix` one is put in front.
    pub(super) fn sentencepiece(file: &str, prefix: bool) -> Result<Self> {
        let mut steps = Vec::new();
        if prefix {
            steps.push(PipelineNormalizer::Prepend(Prepend::new("▁".to_owned())));
        }
        steps.push(replace(file, "tokenizer.ggml.model", " ", "▁")?);
        Ok(Self { steps, ..Self::none() })
    }

    /// BERT's: control characters are removed, Chinese characters are separated by spaces, and with
    /// `lowercase`, accents and case are.
    pub(super) fn bert(lowercase: bool, strip_accents: Option<bool>) -> Self {
        let bert = BertNormalizer::new(true, true, strip_accents, lowercase);
        Self { steps: vec![PipelineNormalizer::Bert(bert)], ..Self::none() }
    }

    /// SentencePiece's map of characters.
    pub(super) fn charsmap(map: Charsmap) -> Self {
        let steps = vec![PipelineNormalizer::Precompiled(map.normalizer)];
        Self { steps, charsmap_growth: map.growth }
    }

    /// The `normalizer` of a `tokenizer.json`; `unsupported-format` for an unknown type.
    pub(super) fn from_json(file: &str, normalizer: Option<&Value>) -> Result<Self> {
        let mut found = Self::none();
        if let Some(value) = normalizer {
            found.read(Component::new(file, FIELD, value), 0)?;
        }
        Ok(found)
    }

    /// Normalizes a text; `invalid-request` if it would become too long.
    pub(super) fn apply<'a>(&self, text: &'a str) -> Result<Cow<'a, str>> {
        let mut text = Cow::Borrowed(text);
        for step in &self.steps {
            if text.len().saturating_mul(self.growth(step)) > 4 * MAX_NORMALIZED_BYTES {
                check_length(usize::MAX)?;
            }
            text = match text {
                Cow::Borrowed(text) => step.normalize(text, 0),
                Cow::Owned(text) => {
                    step.normalize(&text, 0).map(|text| Cow::Owned(text.into_owned()))
                }
            }
            .map_err(|error| Error::internal(format!("normalizing a text: {error}")))?;
            check_length(text.len())?;
        }
        Ok(text)
    }

    /// Upper bound of the factor by which a normalizer lengthens a text.
    fn growth(&self, step: &PipelineNormalizer) -> usize {
        match step {
            PipelineNormalizer::Replace(step) => match step.pattern() {
                ReplacePattern::String(from) => {
                    step.content.len().div_ceil(from.len().max(1)).max(1)
                }
                ReplacePattern::Regex(_) => step.content.len().max(1),
            },
            PipelineNormalizer::Precompiled(_) => self.charsmap_growth,
            PipelineNormalizer::NFKC(_) | PipelineNormalizer::NFKD(_) => 11,
            // A space on each side of a Chinese character, or decomposition and lower case.
            PipelineNormalizer::Bert(_) => 6,
            PipelineNormalizer::NFC(_) | PipelineNormalizer::NFD(_) => 3,
            PipelineNormalizer::Lowercase(_) => 2,
            _ => 1,
        }
    }

    /// Appends the normalizers of a component, which may be a sequence.
    fn read(&mut self, component: Component<'_>, depth: usize) -> Result<()> {
        if component.is_null() {
            return Ok(());
        }
        component.check_bounds(self.steps.len(), depth)?;
        let step = match component.kind() {
            "Sequence" => {
                let mut members = component.members("normalizers");
                return members.try_for_each(|member| self.read(member, depth + 1));
            }
            "Prepend" => {
                PipelineNormalizer::Prepend(Prepend::new(inserted_text(component, "prepend")?))
            }
            "Replace" => {
                let Some(from) = component.str("pattern.String") else {
                    let found =
                        format!("Replace with the pattern {}", component.excerpt("pattern"));
                    return Err(component.unsupported(found, "plain text"));
                };
                replace(component.file, FIELD, from, &inserted_text(component, "content")?)?
            }
            "BertNormalizer" => {
                let flag = |key: &str| component.flag(key).unwrap_or(true);
                PipelineNormalizer::Bert(BertNormalizer::new(
                    flag("clean_text"),
                    flag("handle_chinese_chars"),
                    component.flag("strip_accents"),
                    flag("lowercase"),
                ))
            }
            "Precompiled" => {
                let field = component.field_name("precompiled_charsmap");
                let text = component.text("precompiled_charsmap")?;
                let map = Charsmap::from_base64(component.file, &field, text)?;
                self.charsmap_growth = self.charsmap_growth.max(map.growth);
                PipelineNormalizer::Precompiled(map.normalizer)
            }
            "NFC" => PipelineNormalizer::NFC(NFC),
            "NFD" => PipelineNormalizer::NFD(NFD),
            "NFKC" => PipelineNormalizer::NFKC(NFKC),
            "NFKD" => PipelineNormalizer::NFKD(NFKD),
            "Lowercase" => PipelineNormalizer::Lowercase(Lowercase),
            "Strip" => PipelineNormalizer::Strip(Strip::new(
                component.flag("strip_left").unwrap_or(true),
                component.flag("strip_right").unwrap_or(true),
            )),
            _ => {
                return Err(component.unknown_type(
                    "Sequence, Prepend, Replace, NFC, NFD, NFKC, NFKD, Lowercase, Strip, \
                 BertNormalizer, Precompiled",
                ));
            }
        };
        self.steps.push(step);
        self.check_growth(component)
    }

    /// Refuses a chain of normalizers that could multiply the length of a text.
    fn check_growth(&self, component: Component<'_>) -> Result<()> {
        let steps = &self.steps;
        let replacements = steps.iter().filter(|step| {
            matches!(step, PipelineNormalizer::Replace(_) | PipelineNormalizer::Precompiled(_))
        });
        let times =
            replacements.fold(1usize, |times, step| times.saturating_mul(self.growth(step)));
        let prepended = steps.iter().map(|step| match step {
            PipelineNormalizer::Prepend(step) => step.prepend.len(),
            _ => 0,
        });
        let prepended: usize = prepended.sum();
        if times.max(prepended) > MAX_GROWTH {
            let found = format!(
                "steps that make a text up to {times} times as long and prepend {prepended} bytes"
            );
            return Err(component.unsupported(found, format!("at most {MAX_GROWTH} of each")));
        }
        Ok(())
    }
}

/// Refuses a text that is too long after normalization.
pub(super) fn check_length(found: usize) -> Result<()> {
    if found <= MAX_NORMALIZED_BYTES {
        return Ok(());
    }
    let expected = format!("at most {MAX_NORMALIZED_BYTES} bytes");
    Err(Error::invalid_value("text", "a text that is too long once normalized", expected))
}

/// A string that the component inserts into texts, and that therefore must be short.
fn inserted_text(component: Component<'_>, key: &str) -> Result<String> {
    let text = component.text(key)?;
    if text.len() > MAX_GROWTH {
        let (field, found) = (component.field_name(key), format!("a text of {} bytes", text.len()));
        let expected = format!("at most {MAX_GROWTH}");
        return Err(Error::unsupported_value(component.file, &field, found, expected));
    }
    Ok(text.to_owned())
}

fn replace(file: &str, field: &str, from: &str, to: &str) -> Result<PipelineNormalizer> {
    if from.is_empty() {
        return Err(Error::malformed_value(file, field, "Replace of an empty text", "some text"));
    }
    let step = Replace::new(from, to)
        .map_err(|error| Error::unsupported(file, field, format!("Replace: {error}")))?;
    Ok(PipelineNormalizer::Replace(step))
}
