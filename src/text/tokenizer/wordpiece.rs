//! WordPiece: a word becomes the longest token that it starts with, then the longest token that
//! the rest starts with, and so on; a word with a rest that no token fits is the unknown token.

use super::vocabulary::Vocabulary;
use crate::error::Result;

/// The segmentation of a WordPiece vocabulary.
#[derive(Debug)]
pub(super) struct WordPiece {
    /// Text before a token that starts a word, as the vocabulary writes it.
    pub(super) first: &'static str,
    /// Text before a token that continues a word, such as `##`.
    pub(super) next: String,
    /// Maximum characters of a word; longer ones are the unknown token.
    pub(super) max_chars: usize,
    /// The unknown token. `Err` if the file names a token that it lacks: an error only for texts
    /// that need the token.
    pub(super) unknown: Result<Option<u32>>,
}

impl WordPiece {
    /// Appends the tokens of `word` to `out`.
    pub(super) fn encode(
        &self,
        vocabulary: &Vocabulary,
        word: &str,
        out: &mut Vec<u32>,
    ) -> Result<()> {
        let start = out.len();
        let mut at = 0;
        let mut lead = self.first;
        let is_long = word.chars().nth(self.max_chars).is_some();
        while let Some(rest) = word.get(at..).filter(|rest| !rest.is_empty() && !is_long) {
            let mut longest = None;
            vocabulary.prefixes(lead.bytes().chain(rest.bytes()), |length, id| {
                longest = Some((length, id)).filter(|&(length, _)| length > lead.len()).or(longest);
            });
            let Some((length, id)) = longest else { break };
            out.push(id);
            at += length - lead.len();
            lead = &self.next;
        }
        if at < word.len() {
            out.truncate(start);
            out.extend(self.unknown.clone()?);
        }
        Ok(())
    }
}
