//! What happens to a text before it is merged: normalization, and the cut into words.
//!
//! Both are the `tokenizers` crate's, chosen here from what a file names. A split pattern is one
//! of the known ones, for which the crate has an exact splitter, or plain text: there is no
//! regular-expression engine in the browser build. What is not known is `unsupported-format`.

use std::borrow::Cow;
use std::ops::Range;

use serde_json::Value;
use tokenizers::SplitDelimiterBehavior;
use tokenizers::normalizers::metaspace::{MetaspaceNormalizer, PrependBehavior};
use tokenizers::normalizers::prepend::Prepend;
use tokenizers::normalizers::replace::{Replace, ReplacePattern};
use tokenizers::normalizers::strip::Strip;
use tokenizers::normalizers::unicode::{NFC, NFD, NFKC, NFKD};
use tokenizers::normalizers::utils::Lowercase;
use tokenizers::pipeline::{
    Normalizer, PipelineNormalizer, PipelinePreTokenizer, PreTokenizer, PreTokenizerScratch, Span,
};
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::punctuation::Punctuation;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::pre_tokenizers::whitespace::{Whitespace, WhitespaceSplit};
use tokenizers::utils::byte_level::GPT2_REGEX_STR;

use super::cuts::{Cut, pattern, sequence};
use crate::error::{Code, Error, Result};

/// Most nested or listed components of one kind in a file.
const MAX_COMPONENTS: usize = 16;
/// How many times as long the replacements of a file may make a text, all together, and most bytes
/// that it may put before one.
pub(super) const MAX_GROWTH: usize = 64;
/// Most bytes of one text as the vocabulary spells it.
const MAX_SPELLED_BYTES: usize = 3 << 23;

/// Normalization and cut of one tokenizer.
#[derive(Debug)]
pub(super) struct Splitter {
    normalizers: Vec<PipelineNormalizer>,
    /// What is done to each part between added tokens before it is cut: spaces become a mark.
    escape: Option<MetaspaceNormalizer>,
    pre_tokenizer: PipelinePreTokenizer,
    /// The cut of a GGUF file, which may do more than the crate's splitter.
    cut: Option<Cut>,
    /// The vocabulary is spelt in the byte-level alphabet.
    pub(super) byte_level: bool,
    /// A space is put before a text that starts without one.
    prefix_space: bool,
}

/// Working memory of the cut, kept between texts.
#[derive(Default)]
pub(super) struct SplitScratch {
    inner: PreTokenizerScratch,
    spans: Vec<Span>,
}

impl Splitter {
    /// The splitter for a cut that a GGUF file names in `field`.
    pub(super) fn named(file: &str, field: &str, cut: Cut) -> Result<Self> {
        Ok(Self {
            normalizers: Vec::new(),
            escape: None,
            pre_tokenizer: cut.splitter(file, field)?,
            cut: Some(cut),
            byte_level: true,
            prefix_space: false,
        })
    }

    /// The escape of SentencePiece: spaces become `▁`, and with `prefix` one is put in front.
    pub(super) fn sentencepiece(file: &str, prefix: bool) -> Result<Self> {
        let mut normalizers = Vec::new();
        if prefix {
            normalizers.push(PipelineNormalizer::Prepend(Prepend::new("▁".to_owned())));
        }
        normalizers.push(replace(file, "tokenizer.ggml.model", " ", "▁")?);
        let pre_tokenizer = PipelinePreTokenizer::None;
        Ok(Self {
            normalizers,
            escape: None,
            pre_tokenizer,
            cut: None,
            byte_level: false,
            prefix_space: false,
        })
    }

    /// From the `normalizer` and `pre_tokenizer` of a `tokenizer.json`; a component or pattern
    /// that is not known here is `unsupported-format`.
    pub(super) fn from_json(
        file: &str,
        normalizer: Option<&Value>,
        pre_tokenizer: Option<&Value>,
    ) -> Result<Self> {
        let mut reader = Reader {
            file,
            normalizers: Vec::new(),
            escape: None,
            byte_level: false,
            prefix_space: false,
        };
        if let Some(value) = normalizer {
            reader.normalizer(value, 0)?;
        }
        let mut steps = Vec::new();
        if let Some(value) = pre_tokenizer {
            reader.pre_tokenizer(value, 0, &mut steps)?;
        }
        let Reader { normalizers, escape, byte_level, prefix_space, .. } = reader;
        if prefix_space && steps.len() > 1 {
            let message = "ByteLevel with add_prefix_space after another step";
            return Err(unsupported(file, "pre_tokenizer", message));
        }
        Ok(Self {
            normalizers,
            escape,
            pre_tokenizer: sequence(steps),
            cut: None,
            byte_level,
            prefix_space,
        })
    }

    /// The text in the form in which added tokens are looked for. `invalid-request` when it would
    /// become too long.
    pub(super) fn normalize<'a>(&self, text: &'a str) -> Result<Cow<'a, str>> {
        let mut text = Cow::Borrowed(text);
        for step in &self.normalizers {
            if text.len().saturating_mul(growth(step)) > 4 * MAX_SPELLED_BYTES {
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

    /// A part of a normalized text as the vocabulary spells it; `offset` is where it starts in the
    /// whole, or anything but zero where that is not the start.
    pub(super) fn spell<'a>(&self, text: &'a str, offset: usize) -> Result<Cow<'a, str>> {
        if let Some(escape) = &self.escape {
            return escape
                .normalize(text, offset)
                .map_err(|error| Error::internal(format!("escaping a text: {error}")));
        }
        if self.prefix_space && !text.starts_with(' ') {
            return Ok(Cow::Owned(format!(" {text}")));
        }
        Ok(Cow::Borrowed(text))
    }

    /// Whether a text is merged as a whole, or cut at most before marks.
    pub(super) fn keeps_whole(&self) -> bool {
        matches!(self.pre_tokenizer, PipelinePreTokenizer::None)
    }

    /// Gives the words of a spelled text, in order.
    pub(super) fn words(
        &self,
        text: &str,
        scratch: &mut SplitScratch,
        mut give: impl FnMut(Range<usize>) -> Result<()>,
    ) -> Result<()> {
        let Some((cut, is_punctuation)) = self.cut.and_then(|cut| Some((cut, cut.punctuation()?)))
        else {
            return self.pre_tokenize(text, 0, scratch, give);
        };
        let mut start = 0;
        let mut words = Vec::new();
        while let Some(rest) = text.get(start..).filter(|rest| !rest.is_empty()) {
            let is_run = rest.starts_with(is_punctuation);
            let end = start + rest.find(|c| is_punctuation(c) != is_run).unwrap_or(rest.len());
            if is_run {
                give(start..end)?;
            } else if let Some(run) = text.get(start..end) {
                self.pre_tokenize(run, start, scratch, |word| {
                    cut.thirds(text, word, &mut words);
                    words.drain(..).try_for_each(&mut give)
                })?;
            }
            start = end;
        }
        Ok(())
    }

    fn pre_tokenize(
        &self,
        text: &str,
        offset: usize,
        scratch: &mut SplitScratch,
        mut give: impl FnMut(Range<usize>) -> Result<()>,
    ) -> Result<()> {
        if self.keeps_whole() {
            return give(offset..offset + text.len());
        }
        scratch.spans.clear();
        self.pre_tokenizer
            .pre_tokenize(text, &mut scratch.inner, &mut scratch.spans)
            .map_err(|error| Error::internal(format!("splitting a text: {error}")))?;
        let mut spans = scratch.spans.iter();
        spans.try_for_each(|span| give(offset + span.start as usize..offset + span.end as usize))
    }
}

/// How many times as long a step may make a text at most.
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

/// Refuses a text that is too long once it is spelled.
pub(super) fn check_length(found: usize) -> Result<()> {
    if found <= MAX_SPELLED_BYTES {
        return Ok(());
    }
    let message = format!("too long once normalized, expected at most {MAX_SPELLED_BYTES} bytes");
    Err(Error::invalid_request("text", message))
}

/// What has been read of a file's components so far.
struct Reader<'a> {
    file: &'a str,
    normalizers: Vec<PipelineNormalizer>,
    escape: Option<MetaspaceNormalizer>,
    byte_level: bool,
    prefix_space: bool,
}

impl Reader<'_> {
    fn normalizer(&mut self, value: &Value, depth: usize) -> Result<()> {
        let field = "normalizer";
        if value.is_null() {
            return Ok(());
        }
        self.limit(field, depth.max(self.normalizers.len()))?;
        let text = |key: &str| self.text(value, field, key);
        let step = match kind(value) {
            "Sequence" => {
                for member in members(value, "normalizers") {
                    self.normalizer(member, depth + 1)?;
                }
                return Ok(());
            }
            "Prepend" => PipelineNormalizer::Prepend(Prepend::new(short(
                self.file,
                field,
                text("prepend")?,
            )?)),
            "Replace" => {
                let pattern = value.get("pattern").and_then(|pattern| pattern.get("String"));
                let Some(from) = pattern.and_then(Value::as_str) else {
                    let message =
                        format!("Replace with the pattern {}, expected plain text", shown(value));
                    return Err(unsupported(self.file, field, message));
                };
                let to = short(self.file, field, text("content")?)?;
                replace(self.file, field, from, &to)?
            }
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
                return Err(unsupported(
                    self.file,
                    field,
                    format!("`{other}`, expected one of {known}"),
                ));
            }
        };
        self.normalizers.push(step);
        self.check_growth(field)
    }

    /// Refuses a chain of steps that would multiply a text.
    fn check_growth(&self, field: &str) -> Result<()> {
        let replaced =
            self.normalizers.iter().filter(|step| matches!(step, PipelineNormalizer::Replace(_)));
        let times = replaced.fold(1usize, |times, step| times.saturating_mul(growth(step)));
        let put_before: usize = self
            .normalizers
            .iter()
            .map(|step| match step {
                PipelineNormalizer::Prepend(step) => step.prepend.len(),
                _ => 0,
            })
            .sum();
        if times.max(put_before) > MAX_GROWTH {
            let message = format!(
                "may make a text {times} times as long and puts {put_before} bytes before it, expected at \
                 most {MAX_GROWTH} of each"
            );
            return Err(unsupported(self.file, field, message));
        }
        Ok(())
    }

    fn pre_tokenizer(
        &mut self,
        value: &Value,
        depth: usize,
        steps: &mut Vec<PipelinePreTokenizer>,
    ) -> Result<()> {
        let field = "pre_tokenizer";
        if value.is_null() {
            return Ok(());
        }
        self.limit(field, depth.max(steps.len()))?;
        if self.byte_level {
            return Err(unsupported(
                self.file,
                field,
                "a step after ByteLevel, expected it to be the last",
            ));
        }
        match kind(value) {
            "Sequence" => {
                for member in members(value, "pretokenizers") {
                    self.pre_tokenizer(member, depth + 1, steps)?;
                }
            }
            "ByteLevel" => {
                self.byte_level = true;
                self.prefix_space = flag(value, "add_prefix_space").unwrap_or(false);
                if flag(value, "use_regex").unwrap_or(true) {
                    steps.push(pattern(self.file, field, GPT2_REGEX_STR)?);
                }
            }
            "Split" => steps.push(self.split(value)?),
            "Metaspace" => self.metaspace(value, steps)?,
            "Digits" => {
                let individual = flag(value, "individual_digits").unwrap_or(false);
                steps.push(PipelinePreTokenizer::Digits(Digits::new(individual)));
            }
            "Punctuation" => {
                let behavior = self.behavior(value)?;
                steps.push(PipelinePreTokenizer::Punctuation(Punctuation::new(behavior)));
            }
            "Whitespace" => steps.push(PipelinePreTokenizer::Whitespace(Whitespace)),
            "WhitespaceSplit" => steps.push(PipelinePreTokenizer::WhitespaceSplit(WhitespaceSplit)),
            other => {
                let known =
                    "Sequence, ByteLevel, Split, Metaspace, Digits, Punctuation, Whitespace";
                return Err(unsupported(
                    self.file,
                    field,
                    format!("`{other}`, expected one of {known}"),
                ));
            }
        }
        Ok(())
    }

    fn split(&self, value: &Value) -> Result<PipelinePreTokenizer> {
        let field = "pre_tokenizer";
        let behavior = self.behavior(value)?;
        let invert = flag(value, "invert").unwrap_or(false);
        let source = value.get("pattern");
        if let Some(regex) = source.and_then(|source| source.get("Regex")).and_then(Value::as_str) {
            // These patterns cover every text, so removing what lies between is isolating them.
            let covers = (behavior == SplitDelimiterBehavior::Isolated && !invert)
                || (behavior == SplitDelimiterBehavior::Removed && invert);
            if !covers {
                let message =
                    format!("Split by a pattern with the behavior {behavior:?}, expected Isolated");
                return Err(unsupported(self.file, field, message));
            }
            return pattern(self.file, field, regex);
        }
        let text = source.and_then(|source| source.get("String")).and_then(Value::as_str);
        match text {
            Some(text) if !text.is_empty() => {
                Split::native(SplitPattern::String(text.to_owned()), behavior, invert)
                    .map(PipelinePreTokenizer::Split)
                    .map_err(|error| unsupported(self.file, field, format!("Split: {error}")))
            }
            _ => {
                let message =
                    format!("Split pattern {}, expected a text or a known pattern", shown(value));
                Err(Error::malformed(self.file, field, message))
            }
        }
    }

    /// Metaspace is an escape and a cut before each escaped space.
    fn metaspace(&mut self, value: &Value, steps: &mut Vec<PipelinePreTokenizer>) -> Result<()> {
        let field = "pre_tokenizer";
        let replacement = value.get("replacement").and_then(Value::as_str).unwrap_or("▁");
        let mut characters = replacement.chars();
        let (Some(mark), None) = (characters.next(), characters.next()) else {
            let message = format!("Metaspace replacement `{replacement}`, expected one character");
            return Err(Error::malformed(self.file, field, message));
        };
        if !steps.is_empty() {
            return Err(unsupported(
                self.file,
                field,
                "Metaspace after another step, expected it alone",
            ));
        }
        let declared = value.get("prepend_scheme").and_then(Value::as_str);
        let prepend = match (declared, flag(value, "add_prefix_space")) {
            (Some("never"), _) | (None, Some(false)) => PrependBehavior::Never,
            (Some("first"), _) => PrependBehavior::First,
            (Some("always") | None, _) => PrependBehavior::Always,
            (Some(other), _) => {
                let message = format!("prepend_scheme `{other}`, expected always, first or never");
                return Err(Error::malformed(self.file, field, message));
            }
        };
        self.escape = Some(MetaspaceNormalizer::new(mark, prepend, false));
        if flag(value, "split").unwrap_or(true) {
            let before = SplitDelimiterBehavior::MergedWithNext;
            let split = Split::native(SplitPattern::String(replacement.to_owned()), before, false)
                .map_err(|error| unsupported(self.file, field, format!("Metaspace: {error}")))?;
            steps.push(PipelinePreTokenizer::Split(split));
        }
        Ok(())
    }

    fn behavior(&self, value: &Value) -> Result<SplitDelimiterBehavior> {
        match value.get("behavior").and_then(Value::as_str).unwrap_or("Isolated") {
            "Removed" => Ok(SplitDelimiterBehavior::Removed),
            "Isolated" => Ok(SplitDelimiterBehavior::Isolated),
            "MergedWithPrevious" => Ok(SplitDelimiterBehavior::MergedWithPrevious),
            "MergedWithNext" => Ok(SplitDelimiterBehavior::MergedWithNext),
            "Contiguous" => Ok(SplitDelimiterBehavior::Contiguous),
            other => Err(unsupported(self.file, "pre_tokenizer", format!("behavior `{other}`"))),
        }
    }

    fn text(&self, value: &Value, field: &str, key: &str) -> Result<String> {
        value.get(key).and_then(Value::as_str).map(str::to_owned).ok_or_else(|| {
            Error::malformed(self.file, field, format!("`{}` has no text in `{key}`", kind(value)))
        })
    }

    fn limit(&self, field: &str, count: usize) -> Result<()> {
        if count < MAX_COMPONENTS {
            return Ok(());
        }
        Err(unsupported(self.file, field, format!("more than {MAX_COMPONENTS} steps or levels")))
    }
}

fn replace(file: &str, field: &str, from: &str, to: &str) -> Result<PipelineNormalizer> {
    if from.is_empty() {
        return Err(Error::malformed(file, field, "Replace with an empty pattern"));
    }
    let step = Replace::new(from, to)
        .map_err(|error| unsupported(file, field, format!("Replace: {error}")))?;
    Ok(PipelineNormalizer::Replace(step))
}

/// Refuses a text that is put into every other text if it is long.
fn short(file: &str, field: &str, text: String) -> Result<String> {
    if text.len() <= MAX_GROWTH {
        return Ok(text);
    }
    let found = text.len();
    Err(unsupported(file, field, format!("a text of {found} bytes, expected at most {MAX_GROWTH}")))
}

/// The `type` of a component; empty when it names none.
pub(super) fn kind(value: &Value) -> &str {
    value.get("type").and_then(Value::as_str).unwrap_or("")
}

/// The members a sequence lists under `key`.
pub(super) fn members<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A boolean that may be missing.
pub(super) fn flag(value: &Value, key: &str) -> Option<bool> {
    value.get(key).and_then(Value::as_bool)
}

/// `unsupported-format`, naming file and field.
pub(super) fn unsupported(file: &str, field: &str, message: impl std::fmt::Display) -> Error {
    Error::new(Code::UnsupportedFormat, format!("{file}: {field}: {message}"))
}

/// A value cut short for a message.
fn shown(value: &Value) -> String {
    value
        .get("pattern")
        .map_or_else(|| "none".to_owned(), |found| found.to_string().chars().take(200).collect())
}
