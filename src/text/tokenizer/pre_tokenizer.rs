//! Pre-tokenization: splitting a normalized text into the words that are merged.
//!
//! The splitters are selected by what the file names. Most are those of the `tokenizers` crate. A
//! split pattern is plain text, a regular expression for which the crate has a native splitter, or
//! one that `split_pattern` can match.

use std::borrow::Cow;
use std::ops::Range;

use serde_json::Value;
use tokenizers::SplitDelimiterBehavior;
use tokenizers::normalizers::metaspace::{MetaspaceNormalizer, PrependBehavior};
use tokenizers::pipeline::{Normalizer as _, PipelinePreTokenizer, Span};
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::punctuation::Punctuation;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::pre_tokenizers::whitespace::{Whitespace, WhitespaceSplit};
use tokenizers::utils::byte_level::GPT2_REGEX_STR;

use super::components::Component;
use super::pre_tokenizer_patterns::{splitters, splitters_in_order};
use super::splitter::{Splitter, SplitterScratch};
use super::{SPACE_MARK, part};
use crate::error::{Error, Result, quoted};

const FIELD: &str = "pre_tokenizer";

/// The pre-tokenizer of a tokenizer.
#[derive(Debug)]
pub(super) struct PreTokenizer {
    /// Changes each segment between added tokens before splitting.
    escape: Option<Escape>,
    /// Steps, each of which splits the words of the step before; none leave texts whole.
    splitters: Vec<Splitter>,
    /// The vocabulary is written in the byte-level alphabet.
    pub(super) byte_level: bool,
    /// Puts a space before a text that does not start with one.
    prefix_space: bool,
}

/// Spelling of spaces.
#[derive(Debug)]
enum Escape {
    /// Replaces spaces by a mark, as Metaspace does.
    Metaspace(MetaspaceNormalizer),
    /// Puts a mark before each word and drops white space, as Metaspace after WhitespaceSplit does.
    Words(char),
}

/// Working memory, reused between texts.
#[derive(Default)]
pub(super) struct PreTokenizerScratch {
    splitter: SplitterScratch,
    /// Words of each step.
    levels: Vec<Vec<Span>>,
}

impl PreTokenizer {
    /// No splitting.
    pub(super) fn none() -> Self {
        Self { escape: None, splitters: Vec::new(), byte_level: false, prefix_space: false }
    }

    /// The pre-tokenizer of a byte-level GGUF vocabulary, named in `field`: regular expressions
    /// that are applied in order.
    pub(super) fn named(file: &str, field: &str, patterns: &[&str]) -> Result<Self> {
        let splitters = splitters_in_order(file, field, patterns)?;
        Ok(Self { splitters, byte_level: true, ..Self::none() })
    }

    /// Splits at white space and puts a mark before each word, as SentencePiece does if it removes
    /// extra white space.
    pub(super) fn marked_words(file: &str, field: &'static str) -> Result<Self> {
        let component = Component::new(file, field, &Value::Null);
        let behavior = SplitDelimiterBehavior::MergedWithNext;
        let split = split_at_text(component, &SPACE_MARK.to_string(), behavior, false)?;
        Ok(Self { escape: Some(Escape::Words(SPACE_MARK)), splitters: vec![split], ..Self::none() })
    }

    /// Splits at white space and isolates punctuation, as BERT does.
    pub(super) fn bert() -> Self {
        let bert = Splitter::Native(PipelinePreTokenizer::Bert(BertPreTokenizer));
        Self { splitters: vec![bert], ..Self::none() }
    }

    /// Cuts around runs of line feeds, as Gemma 4's vocabulary needs.
    pub(super) fn line_feeds() -> Self {
        Self { splitters: vec![Splitter::LineFeeds], ..Self::none() }
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
        Ok(Self { escape, splitters: steps, byte_level, prefix_space })
    }

    /// A segment of a normalized text in the form that the vocabulary uses. `offset` is its start
    /// in the whole text: some vocabularies put a mark only at offset zero.
    pub(super) fn spell<'a>(&self, text: &'a str, offset: usize) -> Result<Cow<'a, str>> {
        match &self.escape {
            Some(Escape::Metaspace(escape)) => {
                return escape
                    .normalize(text, offset)
                    .map_err(|error| Error::internal(format!("escaping a text: {error}")));
            }
            Some(Escape::Words(mark)) => {
                let mut spelled = String::with_capacity(text.len() + mark.len_utf8());
                for word in text.split_whitespace() {
                    if !word.starts_with(*mark) {
                        spelled.push(*mark);
                    }
                    spelled.push_str(word);
                }
                return Ok(Cow::Owned(spelled));
            }
            None => {}
        }
        if self.prefix_space && !text.starts_with(' ') {
            return Ok(Cow::Owned(format!(" {text}")));
        }
        Ok(Cow::Borrowed(text))
    }

    /// True if texts are not split.
    pub(super) fn is_none(&self) -> bool {
        self.splitters.is_empty()
    }

    /// Passes the byte ranges of the words of a spelled text to `give`, in order.
    pub(super) fn words(
        &self,
        text: &str,
        scratch: &mut PreTokenizerScratch,
        give: &mut dyn FnMut(Range<usize>) -> Result<()>,
    ) -> Result<()> {
        let PreTokenizerScratch { splitter, levels } = scratch;
        levels.resize_with(self.splitters.len(), Vec::new);
        split(&self.splitters, text, 0, splitter, levels, give)
    }
}

/// Splits a word, which starts at `offset` in the text, by each of `steps`.
fn split(
    steps: &[Splitter],
    word: &str,
    offset: usize,
    scratch: &mut SplitterScratch,
    levels: &mut [Vec<Span>],
    give: &mut dyn FnMut(Range<usize>) -> Result<()>,
) -> Result<()> {
    let (Some((step, steps)), Some((words, levels))) =
        (steps.split_first(), levels.split_first_mut())
    else {
        return give(offset..offset + word.len());
    };
    words.clear();
    step.split(word, scratch, words)?;
    for span in words.iter() {
        let range = span.start as usize..span.end as usize;
        let start = offset + range.start;
        split(steps, part(word, range)?, start, scratch, levels, give)?;
    }
    Ok(())
}

/// Parts of a [`PreTokenizer`], collected from its components.
#[derive(Default)]
struct Parts {
    steps: Vec<Splitter>,
    escape: Option<Escape>,
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
                self.steps.extend(splitters(component.file, FIELD, GPT2_REGEX_STR)?);
                return Ok(());
            }
            "Split" => {
                self.steps.extend(read_split(component)?);
                return Ok(());
            }
            "Metaspace" => return self.metaspace(component),
            "Digits" => {
                let individual = component.flag("individual_digits").unwrap_or(false);
                PipelinePreTokenizer::Digits(Digits::new(individual))
            }
            "Punctuation" => {
                PipelinePreTokenizer::Punctuation(Punctuation::new(behavior(component)?))
            }
            "BertPreTokenizer" => PipelinePreTokenizer::Bert(BertPreTokenizer),
            "Whitespace" => PipelinePreTokenizer::Whitespace(Whitespace),
            "WhitespaceSplit" => PipelinePreTokenizer::WhitespaceSplit(WhitespaceSplit),
            _ => {
                return Err(component.unknown_type(
                    "Sequence, ByteLevel, Split, Metaspace, Digits, Punctuation, Whitespace, \
                     WhitespaceSplit, BertPreTokenizer",
                ));
            }
        };
        self.steps.push(Splitter::Native(step));
        Ok(())
    }

    /// Metaspace replaces spaces by a mark and splits before each mark.
    fn metaspace(&mut self, component: Component<'_>) -> Result<()> {
        let mark = component.metaspace_mark()?;
        let is_after_words = matches!(
            self.steps.as_slice(),
            [Splitter::Native(PipelinePreTokenizer::WhitespaceSplit(_))]
        );
        if !self.steps.is_empty() && !is_after_words {
            let expected = "it as the only step, or after WhitespaceSplit";
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
        self.escape = if is_after_words {
            if prepend != PrependBehavior::Always {
                let expected = "prepend_scheme always";
                return Err(component.unsupported("another after WhitespaceSplit", expected));
            }
            self.steps.clear();
            Some(Escape::Words(mark))
        } else {
            Some(Escape::Metaspace(MetaspaceNormalizer::new(mark, prepend, false)))
        };
        if component.flag("split").unwrap_or(true) {
            let behavior = SplitDelimiterBehavior::MergedWithNext;
            self.steps.push(split_at_text(component, &mark.to_string(), behavior, false)?);
        }
        Ok(())
    }
}

/// Reads a Split component: by a regular expression, or at each occurrence of a text.
fn read_split(component: Component<'_>) -> Result<Vec<Splitter>> {
    let behavior = behavior(component)?;
    let invert = component.flag("invert").unwrap_or(false);
    if let Some(regex) = component.str("pattern.Regex") {
        let mut steps = splitters(component.file, FIELD, regex)?;
        match (behavior, invert) {
            (SplitDelimiterBehavior::Isolated, _) => {}
            // Native patterns cover every text.
            (SplitDelimiterBehavior::Removed, true) => {
                if let Some(step) = steps.first_mut()
                    && let Splitter::Pattern(pattern) = step
                {
                    *step = Splitter::Matches(pattern.clone());
                }
            }
            _ => {
                let found = format!("Split by a pattern with the behavior {behavior:?}");
                return Err(component.unsupported(found, "Isolated"));
            }
        }
        return Ok(steps);
    }
    match component.str("pattern.String") {
        Some(text) if !text.is_empty() => {
            Ok(vec![split_at_text(component, text, behavior, invert)?])
        }
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
) -> Result<Splitter> {
    Split::native(SplitPattern::String(text.to_owned()), behavior, invert)
        .map(|split| Splitter::Native(PipelinePreTokenizer::Split(split)))
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
