//! One step of a pre-tokenizer: splits words into smaller words.

use tokenizers::pipeline::{
    PipelinePreTokenizer, PreTokenizer as _, PreTokenizerScratch as PipelineScratch, Span,
};
use tokenizers::pre_tokenizers::sequence::PipelineSequence;

use super::char_set::{CharSet, tags_of};
use super::split_pattern::SplitPattern;
use crate::error::{Error, Result};

/// A step that splits a text into words that cover it, unless it drops what is between them.
#[derive(Debug)]
pub(super) enum Splitter {
    /// A splitter of the `tokenizers` crate.
    Native(PipelinePreTokenizer),
    /// Cuts around each match of a pattern.
    Pattern(SplitPattern),
    /// Keeps the matches of a pattern and drops the text between them.
    Matches(SplitPattern),
    /// Cuts before every group of three digits, counted from the right of each run.
    DigitGroups(CharSet),
    /// Cuts around each run of line feeds.
    LineFeeds,
}

/// Working memory of splitters, reused between texts.
#[derive(Default)]
pub(super) struct SplitterScratch {
    native: PipelineScratch,
    tags: Vec<u8>,
}

impl Splitter {
    /// Splitters of the crate that are applied in order.
    pub(super) fn sequence(steps: Vec<PipelinePreTokenizer>) -> Self {
        Self::Native(PipelinePreTokenizer::Sequence(PipelineSequence::new(steps)))
    }

    /// Appends the words of `text` to `words`; `invalid-request` if it takes too long to split.
    pub(super) fn split(
        &self,
        text: &str,
        scratch: &mut SplitterScratch,
        words: &mut Vec<Span>,
    ) -> Result<()> {
        let mut give = |start: usize, end: usize| words.push(Span::new(start as u32, end as u32));
        match self {
            Splitter::Native(native) => native
                .pre_tokenize(text, &mut scratch.native, words)
                .map_err(|error| Error::internal(format!("splitting a text: {error}"))),
            Splitter::Pattern(pattern) => {
                pattern.split(text, &mut scratch.tags, |start, end, _| give(start, end))
            }
            Splitter::Matches(pattern) => {
                pattern.split(text, &mut scratch.tags, |start, end, is_match| {
                    if is_match {
                        give(start, end);
                    }
                })
            }
            Splitter::DigitGroups(digits) => {
                cut_digits(digits, text, &mut scratch.tags, give);
                Ok(())
            }
            Splitter::LineFeeds => {
                let mut start = 0;
                while let Some(rest) = text.get(start..).filter(|rest| !rest.is_empty()) {
                    let is_run = rest.starts_with('\n');
                    let length = rest.find(|c| (c == '\n') != is_run).unwrap_or(rest.len());
                    give(start, start + length);
                    start += length;
                }
                Ok(())
            }
        }
    }
}

/// Passes the parts of `text` between the starts of groups of three digits.
fn cut_digits(
    digits: &CharSet,
    text: &str,
    tags: &mut Vec<u8>,
    mut give: impl FnMut(usize, usize),
) {
    let tags = tags_of(text, tags);
    let is_digit = |&(at, character): &(usize, char)| {
        tags.get(at).is_some_and(|&tag| digits.contains(character, tag))
    };
    let mut characters = text.char_indices().peekable();
    let (mut start, mut run) = (0, Vec::new());
    while let Some(first) = characters.next() {
        if !is_digit(&first) {
            continue;
        }
        run.clear();
        run.push(first.0);
        while let Some((at, _)) = characters.next_if(is_digit) {
            run.push(at);
        }
        for &at in run.iter().skip(run.len() % 3).step_by(3).filter(|&&at| at > 0) {
            give(start, at);
            start = at;
        }
    }
    if start < text.len() {
        give(start, text.len());
    }
}
