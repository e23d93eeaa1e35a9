//! Unigram: a word becomes the sequence of tokens whose scores have the highest sum, found by the
//! Viterbi algorithm. Source: `unigram` of the `tokenizers` package, whose results are reproduced
//! to the last tie.

use super::bpe::NONE;
use super::vocabulary::Vocabulary;
use crate::error::{Error, Result};

/// Maximum bytes of one word; each takes 16 bytes of memory.
const MAX_WORD_BYTES: usize = 1 << 22;
/// Maximum bytes of a token: every character of a text may start one. Those of the known
/// vocabularies have at most 64.
const MAX_UNIGRAM_TOKEN_BYTES: usize = 256;
/// Score of an unknown character, relative to the lowest score of a token.
const UNKNOWN_PENALTY: f64 = 10.0;

/// The segmentation of a Unigram vocabulary.
#[derive(Debug)]
pub(super) struct Unigram {
    /// Score of each id: the logarithm of its probability.
    pub(super) scores: Vec<f64>,
    /// Lowest of the scores.
    pub(super) lowest: f64,
    /// Token for characters that no token covers; consecutive ones yield a single token.
    pub(super) unknown: Option<u32>,
    /// Byte tokens for such characters.
    pub(super) byte_fallback: Option<Box<[u32; 256]>>,
}

/// Working memory, reused between words.
#[derive(Debug, Default)]
pub(super) struct UnigramScratch {
    nodes: Vec<Node>,
    /// Tokens of the best path, from the end: id, start and end in the word.
    path: Vec<(u32, u32, u32)>,
}

/// The best segmentation of the word up to a byte: its score, its last token, and the start of
/// that token.
#[derive(Debug, Clone, Copy)]
struct Node {
    score: f64,
    id: u32,
    start: u32,
}

const UNREACHED: Node = Node { score: 0.0, id: NONE, start: NONE };

/// Refuses a token that would make encoding slow.
pub(super) fn check_token(file: &str, field: &str, id: usize, bytes: usize) -> Result<()> {
    if bytes <= MAX_UNIGRAM_TOKEN_BYTES {
        return Ok(());
    }
    let found = format!("token {id} of {bytes} bytes");
    let expected = format!("at most {MAX_UNIGRAM_TOKEN_BYTES} in a Unigram vocabulary");
    Err(Error::unsupported_value(file, field, found, expected))
}

impl Unigram {
    /// Appends the tokens of `word` to `out`. Errors: `invalid-request` if the word is too long;
    /// `malformed` if it has an unknown character and the vocabulary no token for it.
    pub(super) fn encode(
        &self,
        vocabulary: &Vocabulary,
        word: &str,
        scratch: &mut UnigramScratch,
        out: &mut Vec<u32>,
    ) -> Result<()> {
        if word.len() > MAX_WORD_BYTES {
            let (found, expected) =
                (format!("a word of {} bytes", word.len()), format!("at most {MAX_WORD_BYTES}"));
            return Err(Error::invalid_value("text", found, expected));
        }
        let UnigramScratch { nodes, path } = scratch;
        nodes.clear();
        nodes.resize(word.len() + 1, UNREACHED);
        for (at, character) in word.char_indices() {
            let here = nodes.get(at).map_or(0.0, |node| node.score);
            let mut is_covered = false;
            let length = character.len_utf8();
            let mut offer = |length: usize, id: u32, score: f64| {
                let Some(node) = nodes.get_mut(at + length) else { return };
                if node.start == NONE || score > node.score {
                    *node = Node { score, id, start: at as u32 };
                }
            };
            vocabulary.prefixes(word.bytes().skip(at), |found, id| {
                let score = self.scores.get(id as usize).copied().unwrap_or(self.lowest);
                offer(found, id, score + here);
                is_covered |= found == length;
            });
            if !is_covered {
                offer(length, NONE, self.lowest - UNKNOWN_PENALTY + here);
            }
        }
        path.clear();
        let mut end = word.len();
        while let Some(node) = nodes.get(end).filter(|node| node.start != NONE) {
            match path.last_mut() {
                // Consecutive unknown characters are one piece.
                Some((NONE, start, _)) if node.id == NONE => *start = node.start,
                _ => path.push((node.id, node.start, end as u32)),
            }
            end = node.start as usize;
        }
        for &(id, start, end) in path.iter().rev() {
            if id == NONE {
                self.emit_unknown(word.as_bytes().get(start as usize..end as usize), out)?;
            } else {
                out.push(id);
            }
        }
        Ok(())
    }

    fn emit_unknown(&self, piece: Option<&[u8]>, out: &mut Vec<u32>) -> Result<()> {
        let piece = piece.unwrap_or(&[]);
        if let Some(ids) = &self.byte_fallback
            && piece.iter().all(|&byte| ids[byte as usize] != NONE)
        {
            out.extend(piece.iter().map(|&byte| ids[byte as usize]));
            return Ok(());
        }
        let unknown = self.unknown.ok_or_else(|| {
            let (found, expected) = ("no unknown token", "one because the text needs it");
            Error::malformed_value("tokenizer", "model.unk_id", found, expected)
        })?;
        out.push(unknown);
        Ok(())
    }
}
