//! Pre-tokenization: splitting a normalized text into the words that are merged.
//!
//! The splitters are those of the `tokenizers` crate, selected by what the file names. A split
//! pattern is either plain text or a known regular expression for which the crate has a native
//! splitter, because the browser build has no regular expression engine.

use std::borrow::Cow;
use std::ops::Range;

use serde_json::Value;
use tokenizers::SplitDelimiterBehavior;
use tokenizers::normalizers::metaspace::{MetaspaceNormalizer, PrependBehavior};
use tokenizers::pipeline::{
    Normalizer as _, PipelinePreTokenizer, PreTokenizer as _,
    PreTokenizerScratch as PipelineScratch, Span,
};
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::punctuation::Punctuation;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::pre_tokenizers::whitespace::{Whitespace, WhitespaceSplit};
use tokenizers::utils::byte_level::GPT2_REGEX_STR;

use super::components::{component_type, flag, members};
use super::pre_tokenizer_patterns::{PreTokenizerKind, pattern, sequence};
use crate::error::{Error, Result, excerpt, quoted};

const FIELD: &str = "pre_tokenizer";
/// Maximum splitters, and maximum nesting of sequences.
const MAX_STEPS: usize = 16;

/// The pre-tokenizer of a tokenizer.
#[derive(Debug)]
pub(super) struct PreTokenizer {
    /// Replaces spaces by a mark in each segment between added tokens, before splitting.
    escape: Option<MetaspaceNormalizer>,
    splitter: PipelinePreTokenizer,
    /// The pre-tokenizer of a GGUF file, which may include steps that the crate lacks.
    kind: Option<PreTokenizerKind>,
    /// The vocabulary is written in the byte-level alphabet.
    pub(super) byte_level: bool,
    /// Puts a space before a text that does not start with one.
    prefix_space: bool,
}

/// Working memory, reused between texts.
#[derive(Default)]
pub(super) struct PreTokenizerScratch {
    inner: PipelineScratch,
    spans: Vec<Span>,
}

impl PreTokenizer {
    /// Keeps text whole.
    pub(super) fn none() -> Self {
        Self {
            escape: None,
            splitter: PipelinePreTokenizer::None,
            kind: None,
            byte_level: false,
            prefix_space: false,
        }
    }

    /// The pre-tokenizer of a byte-level GGUF vocabulary, named in `field`.
    pub(super) fn named(file: &str, field: &str, kind: PreTokenizerKind) -> Result<Self> {
        let splitter = kind.splitter(file, field)?;
        Ok(Self { splitter, kind: Some(kind), byte_level: true, ..Self::none() })
    }

    /// The `pre_tokenizer` of a `tokenizer.json`; `unsupported-format` for an unknown type or
    /// pattern.
    pub(super) fn from_json(file: &str, pre_tokenizer: Option<&Value>) -> Result<Self> {
        let mut reader = Reader {
            file,
            steps: Vec::new(),
            escape: None,
            byte_level: false,
            prefix_space: false,
        };
        if let Some(value) = pre_tokenizer {
            reader.read(value, 0)?;
        }
        let Reader { steps, escape, byte_level, prefix_space, .. } = reader;
        if prefix_space && steps.len() > 1 {
            let found = "ByteLevel with add_prefix_space after another step";
            return Err(Error::unsupported_value(file, FIELD, found, "it as the only step"));
        }
        Ok(Self { escape, splitter: sequence(steps), kind: None, byte_level, prefix_space })
    }

    /// A segment of a normalized text in the form that the vocabulary uses. `offset` is its start
    /// in the whole text: some vocabularies put a mark only at offset zero.
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

    /// True if texts are not split.
    pub(super) fn is_none(&self) -> bool {
        matches!(self.splitter, PipelinePreTokenizer::None)
    }

    /// Passes the byte ranges of the words of a spelled text to `give`, in order.
    pub(super) fn words(
        &self,
        text: &str,
        scratch: &mut PreTokenizerScratch,
        mut give: impl FnMut(Range<usize>) -> Result<()>,
    ) -> Result<()> {
        let isolated = self.kind.and_then(|kind| Some((kind, kind.isolated_punctuation()?)));
        let Some((kind, is_punctuation)) = isolated else {
            return self.split(text, 0, scratch, give);
        };
        let mut start = 0;
        let mut words = Vec::new();
        while let Some(rest) = text.get(start..).filter(|rest| !rest.is_empty()) {
            let is_run = rest.starts_with(is_punctuation);
            let end = start + rest.find(|c| is_punctuation(c) != is_run).unwrap_or(rest.len());
            if is_run {
                give(start..end)?;
            } else if let Some(run) = text.get(start..end) {
                self.split(run, start, scratch, |word| {
                    kind.group_digits(text, word, &mut words);
                    words.drain(..).try_for_each(&mut give)
                })?;
            }
            start = end;
        }
        Ok(())
    }

    fn split(
        &self,
        text: &str,
        offset: usize,
        scratch: &mut PreTokenizerScratch,
        mut give: impl FnMut(Range<usize>) -> Result<()>,
    ) -> Result<()> {
        if self.is_none() {
            return give(offset..offset + text.len());
        }
        scratch.spans.clear();
        self.splitter
            .pre_tokenize(text, &mut scratch.inner, &mut scratch.spans)
            .map_err(|error| Error::internal(format!("splitting a text: {error}")))?;
        let mut spans = scratch.spans.iter();
        spans.try_for_each(|span| give(offset + span.start as usize..offset + span.end as usize))
    }
}

struct Reader<'a> {
    file: &'a str,
    steps: Vec<PipelinePreTokenizer>,
    escape: Option<MetaspaceNormalizer>,
    byte_level: bool,
    prefix_space: bool,
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
        if self.byte_level {
            return Err(self.unsupported("a step after ByteLevel", "ByteLevel as the last step"));
        }
        let step = match component_type(value) {
            "Sequence" => {
                for member in members(value, "pretokenizers") {
                    self.read(member, depth + 1)?;
                }
                return Ok(());
            }
            "ByteLevel" => {
                self.byte_level = true;
                self.prefix_space = flag(value, "add_prefix_space").unwrap_or(false);
                if !flag(value, "use_regex").unwrap_or(true) {
                    return Ok(());
                }
                pattern(self.file, FIELD, GPT2_REGEX_STR)?
            }
            "Split" => self.split(value)?,
            "Metaspace" => return self.metaspace(value),
            "Digits" => {
                let individual = flag(value, "individual_digits").unwrap_or(false);
                PipelinePreTokenizer::Digits(Digits::new(individual))
            }
            "Punctuation" => {
                PipelinePreTokenizer::Punctuation(Punctuation::new(self.behavior(value)?))
            }
            "Whitespace" => PipelinePreTokenizer::Whitespace(Whitespace),
            "WhitespaceSplit" => PipelinePreTokenizer::WhitespaceSplit(WhitespaceSplit),
            other => {
                let known = "Sequence, ByteLevel, Split, Metaspace, Digits, Punctuation, \
                             Whitespace, WhitespaceSplit";
                return Err(self.unsupported(quoted(other), format!("one of {known}")));
            }
        };
        self.steps.push(step);
        Ok(())
    }

    fn split(&self, value: &Value) -> Result<PipelinePreTokenizer> {
        let behavior = self.behavior(value)?;
        let invert = flag(value, "invert").unwrap_or(false);
        let source = value.get("pattern");
        if let Some(regex) = source.and_then(|source| source.get("Regex")).and_then(Value::as_str) {
            // The known patterns cover every text, so that removing the text between matches is
            // the same as isolating the matches.
            let covers = (behavior == SplitDelimiterBehavior::Isolated && !invert)
                || (behavior == SplitDelimiterBehavior::Removed && invert);
            if !covers {
                let found = format!("Split by a pattern with the behavior {behavior:?}");
                return Err(self.unsupported(found, "Isolated"));
            }
            return pattern(self.file, FIELD, regex);
        }
        let text = source.and_then(|source| source.get("String")).and_then(Value::as_str);
        match text {
            Some(text) if !text.is_empty() => {
                Split::native(SplitPattern::String(text.to_owned()), behavior, invert)
                    .map(PipelinePreTokenizer::Split)
                    .map_err(|error| {
                        Error::unsupported(self.file, FIELD, format!("Split: {error}"))
                    })
            }
            _ => {
                let found = format!("Split pattern {}", excerpt(&value["pattern"]));
                Err(self.malformed(found, "a text or a known pattern"))
            }
        }
    }

    /// Metaspace replaces spaces by a mark and splits before each mark.
    fn metaspace(&mut self, value: &Value) -> Result<()> {
        let replacement = value.get("replacement").and_then(Value::as_str).unwrap_or("▁");
        let mut characters = replacement.chars();
        let (Some(mark), None) = (characters.next(), characters.next()) else {
            let found = format!("Metaspace replacement {}", quoted(replacement));
            return Err(self.malformed(found, "one character"));
        };
        if !self.steps.is_empty() {
            return Err(self.unsupported("Metaspace after another step", "it as the only step"));
        }
        let declared = value.get("prepend_scheme").and_then(Value::as_str);
        let prepend = match (declared, flag(value, "add_prefix_space")) {
            (Some("never"), _) | (None, Some(false)) => PrependBehavior::Never,
            (Some("first"), _) => PrependBehavior::First,
            (Some("always") | None, _) => PrependBehavior::Always,
            (Some(other), _) => {
                let found = format!("prepend_scheme {}", quoted(other));
                return Err(self.malformed(found, "always, first or never"));
            }
        };
        self.escape = Some(MetaspaceNormalizer::new(mark, prepend, false));
        if flag(value, "split").unwrap_or(true) {
            let before = SplitDelimiterBehavior::MergedWithNext;
            let split = Split::native(SplitPattern::String(replacement.to_owned()), before, false)
                .map_err(|error| {
                    Error::unsupported(self.file, FIELD, format!("Metaspace: {error}"))
                })?;
            self.steps.push(PipelinePreTokenizer::Split(split));
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
            other => {
                let known = "Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous";
                let found = format!("behavior {}", quoted(other));
                Err(self.unsupported(found, format!("one of {known}")))
            }
        }
    }

    fn malformed(&self, found: impl std::fmt::Display, expected: impl std::fmt::Display) -> Error {
        Error::malformed_value(self.file, FIELD, found, expected)
    }

    fn unsupported(
        &self,
        found: impl std::fmt::Display,
        expected: impl std::fmt::Display,
    ) -> Error {
        Error::unsupported_value(self.file, FIELD, found, expected)
    }
}
