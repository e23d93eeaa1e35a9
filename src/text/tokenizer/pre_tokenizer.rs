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

use super::components::Component;
use super::pre_tokenizer_patterns::{PreTokenizerKind, pattern, sequence};
use crate::error::{Error, Result, quoted};

const FIELD: &str = "pre_tokenizer";

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
    /// No splitting.
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
        let mut parts = Parts::default();
        if let Some(value) = pre_tokenizer {
            parts.read(Component::new(file, FIELD, value), 0)?;
        }
        let Parts { steps, escape, byte_level, prefix_space } = parts;
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

/// Parts of a [`PreTokenizer`], collected from its components.
#[derive(Default)]
struct Parts {
    steps: Vec<PipelinePreTokenizer>,
    escape: Option<MetaspaceNormalizer>,
    byte_level: bool,
    prefix_space: bool,
}

impl Parts {
    fn read(&mut self, component: Component<'_>, depth: usize) -> Result<()> {
        if component.is_null() {
            return Ok(());
        }
        component.check_bounds(self.steps.len(), depth)?;
        if self.byte_level {
            let expected = "ByteLevel as the last step";
            return Err(component.unsupported("a step after ByteLevel", expected));
        }
        let step = match component.kind() {
            "Sequence" => {
                let mut members = component.members("pretokenizers");
                return members.try_for_each(|member| self.read(member, depth + 1));
            }
            "ByteLevel" => {
                self.byte_level = true;
                self.prefix_space = component.flag("add_prefix_space").unwrap_or(false);
                if !component.flag("use_regex").unwrap_or(true) {
                    return Ok(());
                }
                pattern(component.file, FIELD, GPT2_REGEX_STR)?
            }
            "Split" => split(component)?,
            "Metaspace" => return self.metaspace(component),
            "Digits" => {
                let individual = component.flag("individual_digits").unwrap_or(false);
                PipelinePreTokenizer::Digits(Digits::new(individual))
            }
            "Punctuation" => {
                PipelinePreTokenizer::Punctuation(Punctuation::new(behavior(component)?))
            }
            "Whitespace" => PipelinePreTokenizer::Whitespace(Whitespace),
            "WhitespaceSplit" => PipelinePreTokenizer::WhitespaceSplit(WhitespaceSplit),
            _ => {
                return Err(component.unknown_type(
                    "Sequence, ByteLevel, Split, Metaspace, Digits, Punctuation, Whitespace, \
                     WhitespaceSplit",
                ));
            }
        };
        self.steps.push(step);
        Ok(())
    }

    /// Metaspace replaces spaces by a mark and splits before each mark.
    fn metaspace(&mut self, component: Component<'_>) -> Result<()> {
        let mark = component.metaspace_mark()?;
        if !self.steps.is_empty() {
            let expected = "it as the only step";
            return Err(component.unsupported("Metaspace after another step", expected));
        }
        let scheme = component.str("prepend_scheme");
        let prepend = match (scheme, component.flag("add_prefix_space")) {
            (Some("never"), _) | (None, Some(false)) => PrependBehavior::Never,
            (Some("first"), _) => PrependBehavior::First,
            (Some("always") | None, _) => PrependBehavior::Always,
            (Some(other), _) => {
                let found = format!("prepend_scheme {}", quoted(other));
                return Err(component.malformed(found, "always, first or never"));
            }
        };
        self.escape = Some(MetaspaceNormalizer::new(mark, prepend, false));
        if component.flag("split").unwrap_or(true) {
            let behavior = SplitDelimiterBehavior::MergedWithNext;
            self.steps.push(split_at_text(component, &mark.to_string(), behavior, false)?);
        }
        Ok(())
    }
}

/// Reads a Split component: by a known regular expression, or at each occurrence of a text.
fn split(component: Component<'_>) -> Result<PipelinePreTokenizer> {
    let behavior = behavior(component)?;
    let invert = component.flag("invert").unwrap_or(false);
    if let Some(regex) = component.str("pattern.Regex") {
        // The known patterns cover every text, so that removing the text between matches is the
        // same as isolating the matches.
        let covers = (behavior == SplitDelimiterBehavior::Isolated && !invert)
            || (behavior == SplitDelimiterBehavior::Removed && invert);
        if !covers {
            let found = format!("Split by a pattern with the behavior {behavior:?}");
            return Err(component.unsupported(found, "Isolated"));
        }
        return pattern(component.file, FIELD, regex);
    }
    match component.str("pattern.String") {
        Some(text) if !text.is_empty() => split_at_text(component, text, behavior, invert),
        _ => {
            let found = format!("Split pattern {}", component.excerpt("pattern"));
            Err(component.malformed(found, "a text or a known pattern"))
        }
    }
}

fn split_at_text(
    component: Component<'_>,
    text: &str,
    behavior: SplitDelimiterBehavior,
    invert: bool,
) -> Result<PipelinePreTokenizer> {
    Split::native(SplitPattern::String(text.to_owned()), behavior, invert)
        .map(PipelinePreTokenizer::Split)
        .map_err(|error| {
            let message = format!("{}: {error}", component.kind());
            Error::unsupported(component.file, FIELD, message)
        })
}

fn behavior(component: Component<'_>) -> Result<SplitDelimiterBehavior> {
    match component.str("behavior").unwrap_or("Isolated") {
        "Removed" => Ok(SplitDelimiterBehavior::Removed),
        "Isolated" => Ok(SplitDelimiterBehavior::Isolated),
        "MergedWithPrevious" => Ok(SplitDelimiterBehavior::MergedWithPrevious),
        "MergedWithNext" => Ok(SplitDelimiterBehavior::MergedWithNext),
        "Contiguous" => Ok(SplitDelimiterBehavior::Contiguous),
        other => {
            let known = "Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous";
            let found = format!("behavior {}", quoted(other));
            Err(component.unsupported(found, format!("one of {known}")))
        }
    }
}
