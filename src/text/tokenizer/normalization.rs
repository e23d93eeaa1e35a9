//! Normalization of text before pre-tokenization, with the normalizers of the `tokenizers` crate.

use std::borrow::Cow;

use serde_json::Value;
use tokenizers::normalizers::prepend::Prepend;
use tokenizers::normalizers::replace::{Replace, ReplacePattern};
use tokenizers::normalizers::strip::Strip;
use tokenizers::normalizers::unicode::{NFC, NFD, NFKC, NFKD};
use tokenizers::normalizers::utils::Lowercase;
use tokenizers::pipeline::{Normalizer, PipelineNormalizer};

use super::components::{MAX_GROWTH, component_type, flag, members};
use crate::error::{Error, Result, excerpt, quoted};

const FIELD: &str = "normalizer";
/// Maximum normalizers, and maximum nesting of sequences.
const MAX_STEPS: usize = 16;
/// Maximum bytes of a normalized text.
const MAX_NORMALIZED_BYTES: usize = 3 << 23;

/// The normalizers of a tokenizer, applied in order.
#[derive(Debug)]
pub(super) struct Normalization {
    steps: Vec<PipelineNormalizer>,
}

impl Normalization {
    /// Leaves text unchanged.
    pub(super) fn none() -> Self {
        Self { steps: Vec::new() }
    }

    /// SentencePiece's escape: spaces become `▁`, and with `prefix` one is put in front.
    pub(super) fn sentencepiece(file: &str, prefix: bool) -> Result<Self> {
        let mut steps = Vec::new();
        if prefix {
            steps.push(PipelineNormalizer::Prepend(Prepend::new("▁".to_owned())));
        }
        steps.push(replace(file, "tokenizer.ggml.model", " ", "▁")?);
        Ok(Self { steps })
    }

    /// The `normalizer` of a `tokenizer.json`; `unsupported-format` for an unknown type.
    pub(super) fn from_json(file: &str, normalizer: Option<&Value>) -> Result<Self> {
        let mut reader = Reader { file, steps: Vec::new() };
        if let Some(value) = normalizer {
            reader.read(value, 0)?;
        }
        Ok(Self { steps: reader.steps })
    }

    /// Normalizes a text; `invalid-request` if it would become too long.
    pub(super) fn apply<'a>(&self, text: &'a str) -> Result<Cow<'a, str>> {
        let mut text = Cow::Borrowed(text);
        for step in &self.steps {
            if text.len().saturating_mul(growth(step)) > 4 * MAX_NORMALIZED_BYTES {
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
}

/// Upper bound of the factor by which a normalizer lengthens a text.
fn growth(step: &PipelineNormalizer) -> usize {
    match step {
        PipelineNormalizer::Replace(step) => match step.pattern() {
            ReplacePattern::String(from) => step.content.len().div_ceil(from.len().max(1)).max(1),
            ReplacePattern::Regex(_) => step.content.len().max(1),
        },
        PipelineNormalizer::NFKC(_) | PipelineNormalizer::NFKD(_) => 11,
        PipelineNormalizer::NFC(_) | PipelineNormalizer::NFD(_) => 3,
        PipelineNormalizer::Lowercase(_) => 2,
        _ => 1,
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

struct Reader<'a> {
    file: &'a str,
    steps: Vec<PipelineNormalizer>,
}

impl Reader<'_> {
    fn read(&mut self, value: &Value, depth: usize) -> Result<()> {
        if value.is_null() {
            return Ok(());
        }
        if depth.max(self.steps.len()) >= MAX_STEPS {
            let found = format!("more than {MAX_STEPS} steps or levels");
            return Err(self.unsupported(found, "at most as many"));
        }
        let step = match component_type(value) {
            "Sequence" => {
                for member in members(value, "normalizers") {
                    self.read(member, depth + 1)?;
                }
                return Ok(());
            }
            "Prepend" => {
                PipelineNormalizer::Prepend(Prepend::new(self.short_text(value, "prepend")?))
            }
            "Replace" => self.replace(value)?,
            "NFC" => PipelineNormalizer::NFC(NFC),
            "NFD" => PipelineNormalizer::NFD(NFD),
            "NFKC" => PipelineNormalizer::NFKC(NFKC),
            "NFKD" => PipelineNormalizer::NFKD(NFKD),
            "Lowercase" => PipelineNormalizer::Lowercase(Lowercase),
            "Strip" => PipelineNormalizer::Strip(Strip::new(
                flag(value, "strip_left").unwrap_or(true),
                flag(value, "strip_right").unwrap_or(true),
            )),
            other => {
                let known = "Sequence, Prepend, Replace, NFC, NFD, NFKC, NFKD, Lowercase, Strip";
                return Err(self.unsupported(quoted(other), format!("one of {known}")));
            }
        };
        self.steps.push(step);
        self.check_growth()
    }

    fn replace(&self, value: &Value) -> Result<PipelineNormalizer> {
        let pattern = value.get("pattern");
        let Some(from) = pattern.and_then(|pattern| pattern.get("String")).and_then(Value::as_str)
        else {
            let found = format!("Replace with the pattern {}", excerpt(&value["pattern"]));
            return Err(self.unsupported(found, "plain text"));
        };
        replace(self.file, FIELD, from, &self.short_text(value, "content")?)
    }

    /// Refuses a chain of normalizers that could multiply the length of a text.
    fn check_growth(&self) -> Result<()> {
        let replacements =
            self.steps.iter().filter(|step| matches!(step, PipelineNormalizer::Replace(_)));
        let times = replacements.fold(1usize, |times, step| times.saturating_mul(growth(step)));
        let prepended = self.steps.iter().map(|step| match step {
            PipelineNormalizer::Prepend(step) => step.prepend.len(),
            _ => 0,
        });
        let prepended: usize = prepended.sum();
        if times.max(prepended) > MAX_GROWTH {
            let found = format!(
                "steps that make a text up to {times} times as long and prepend {prepended} bytes"
            );
            return Err(self.unsupported(found, format!("at most {MAX_GROWTH} of each")));
        }
        Ok(())
    }

    /// A string of the component that is inserted into texts, and therefore must be short.
    fn short_text(&self, value: &Value, key: &str) -> Result<String> {
        let field = format!("{FIELD}: {}.{key}", component_type(value));
        let Some(text) = value.get(key).and_then(Value::as_str) else {
            return Err(Error::malformed_value(self.file, &field, excerpt(&value[key]), "text"));
        };
        if text.len() > MAX_GROWTH {
            let found = format!("a text of {} bytes", text.len());
            let expected = format!("at most {MAX_GROWTH}");
            return Err(Error::unsupported_value(self.file, &field, found, expected));
        }
        Ok(text.to_owned())
    }

    fn unsupported(
        &self,
        found: impl std::fmt::Display,
        expected: impl std::fmt::Display,
    ) -> Error {
        Error::unsupported_value(self.file, FIELD, found, expected)
    }
}

fn replace(file: &str, field: &str, from: &str, to: &str) -> Result<PipelineNormalizer> {
    if from.is_empty() {
        return Err(Error::malformed_value(file, field, "Replace of an empty text", "some text"));
    }
    let step = Replace::new(from, to)
        .map_err(|error| Error::unsupported(file, field, format!("Replace: {error}")))?;
    Ok(PipelineNormalizer::Replace(step))
}
