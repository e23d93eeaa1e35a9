//! The last step of encoding: a word becomes the tokens of one of three kinds of vocabulary.

use super::bpe::{Bpe, MergeScratch};
use super::unigram::{Unigram, UnigramScratch};
use super::vocabulary::Vocabulary;
use super::wordpiece::WordPiece;
use crate::error::Result;

/// The kind of a vocabulary, with what segmentation needs besides the tokens.
#[derive(Debug)]
pub(super) enum SubwordModel {
    Bpe(Bpe),
    WordPiece(WordPiece),
    Unigram(Unigram),
}

/// Working memory, reused between words.
#[derive(Debug, Default)]
pub(super) struct SubwordScratch {
    merge: MergeScratch,
    unigram: UnigramScratch,
}

impl SubwordModel {
    /// Appends the tokens of `word` to `out`. Errors: `invalid-request` if the word is too long;
    /// `malformed` if it needs an unknown token that the file names and lacks.
    pub(super) fn encode(
        &self,
        vocabulary: &Vocabulary,
        word: &str,
        scratch: &mut SubwordScratch,
        out: &mut Vec<u32>,
    ) -> Result<()> {
        match self {
            SubwordModel::Bpe(bpe) => bpe.encode(vocabulary, word, &mut scratch.merge, out),
            SubwordModel::WordPiece(model) => model.encode(vocabulary, word, out),
            SubwordModel::Unigram(model) => {
                model.encode(vocabulary, word, &mut scratch.unigram, out)
            }
        }
    }

    /// True if splitting a text before each run of `mark` does not change its tokens.
    pub(super) fn splits_before(&self, vocabulary: &Vocabulary, mark: char) -> bool {
        matches!(self, SubwordModel::Bpe(bpe) if bpe.splits_before(vocabulary, mark))
    }

    /// Byte tokens for characters that the vocabulary lacks.
    pub(super) fn byte_fallback(&self) -> Option<&[u32; 256]> {
        match self {
            SubwordModel::Bpe(Bpe { byte_fallback, .. })
            | SubwordModel::Unigram(Unigram { byte_fallback, .. }) => byte_fallback.as_deref(),
            SubwordModel::WordPiece(_) => None,
        }
    }
}
