//! Byte pair encoding: a word becomes tokens by merging adjacent symbols, the pair with the lowest
//! rank first, and of equal ranks the leftmost.
//!
//! Pairs are ranked by a list of merges (byte-level vocabularies and every `tokenizer.json`), or by
//! the scores of the resulting tokens (SentencePiece-style GGUF vocabularies without a list). A
//! priority queue keeps merging at O(n log n): SentencePiece does not split text into words.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::vocabulary::Vocabulary;
use crate::error::{Error, Result, quoted};

/// Maximum bytes of one word; each takes 56 bytes of memory during merging.
const MAX_WORD_BYTES: usize = 1 << 22;
/// Id of a symbol that is no token, and index that ends the linked list of symbols.
pub(super) const NONE: u32 = u32::MAX;

/// Initial symbols of a word, before merging.
#[derive(Debug)]
pub(super) enum BaseSymbols {
    /// Token id of each byte, or [`NONE`].
    Bytes(Box<[u32; 256]>),
    /// Token ids of characters.
    Characters(HashMap<char, u32>),
}

/// Pairs that merge.
#[derive(Debug)]
pub(super) enum Merges {
    /// Left and right id to rank and merged id.
    Ranked(HashMap<(u32, u32), (u32, u32)>),
    /// Rank of each id as the result of a merge: the higher the score, the lower the rank.
    Scored(Vec<u32>),
}

/// The merging step of a tokenizer.
#[derive(Debug)]
pub(super) struct Bpe {
    pub(super) symbols: BaseSymbols,
    pub(super) merges: Merges,
    /// A word that is a token is not merged from smaller symbols.
    pub(super) ignore_merges: bool,
    /// Byte tokens for characters that the vocabulary lacks.
    pub(super) byte_fallback: Option<Box<[u32; 256]>>,
    /// Token for characters that neither the vocabulary nor byte tokens cover; `None` drops them.
    /// `Err` if the file names a token that it lacks: an error only for texts that need the token.
    pub(super) unknown: Result<Option<u32>>,
    /// Consecutive unknown characters yield a single unknown token.
    pub(super) fuse_unknown: bool,
}

/// An element of the linked list of symbols; `start..end` is its byte range in the word.
#[derive(Debug, Clone, Copy)]
struct Symbol {
    id: u32,
    start: u32,
    end: u32,
    previous: u32,
    next: u32,
}

/// A candidate merge: rank, index of the left symbol, end of the left symbol, end of the right
/// symbol, merged id. The candidate is stale if either end has changed.
type Candidate = Reverse<(u32, u32, u32, u32, u32)>;

/// Working memory, reused between words.
#[derive(Debug, Default)]
pub(super) struct MergeScratch {
    symbols: Vec<Symbol>,
    queue: BinaryHeap<Candidate>,
}

impl Bpe {
    /// Appends the tokens of `word` to `out`; `invalid-request` if the word is too long.
    pub(super) fn encode(
        &self,
        vocabulary: &Vocabulary,
        word: &str,
        scratch: &mut MergeScratch,
        out: &mut Vec<u32>,
    ) -> Result<()> {
        if self.ignore_merges
            && let Some(id) = vocabulary.find(word.as_bytes())
        {
            out.push(id);
            return Ok(());
        }
        if word.len() > MAX_WORD_BYTES {
            let (found, expected) =
                (format!("a word of {} bytes", word.len()), format!("at most {MAX_WORD_BYTES}"));
            return Err(Error::invalid_value("text", found, expected));
        }
        self.split(word, &mut scratch.symbols);
        let text = word.as_bytes();
        scratch.queue.clear();
        for left in 0..scratch.symbols.len() as u32 {
            self.offer(vocabulary, text, &scratch.symbols, left, &mut scratch.queue);
        }
        while let Some(Reverse((_, left, middle, end, merged))) = scratch.queue.pop() {
            self.merge(vocabulary, text, scratch, left, (middle, end), merged);
        }
        self.emit(text, &scratch.symbols, out)
    }

    /// Splits a word into its initial symbols.
    fn split(&self, word: &str, symbols: &mut Vec<Symbol>) {
        symbols.clear();
        match &self.symbols {
            BaseSymbols::Bytes(ids) => {
                for (at, &byte) in word.as_bytes().iter().enumerate() {
                    push_symbol(symbols, ids[byte as usize], at, at + 1);
                }
            }
            BaseSymbols::Characters(ids) => {
                for (at, character) in word.char_indices() {
                    let id = ids.get(&character).copied().unwrap_or(NONE);
                    push_symbol(symbols, id, at, at + character.len_utf8());
                }
            }
        }
    }

    /// Queues the pair that starts at symbol `left`, if it merges.
    fn offer(
        &self,
        vocabulary: &Vocabulary,
        text: &[u8],
        symbols: &[Symbol],
        left: u32,
        queue: &mut BinaryHeap<Candidate>,
    ) {
        let Some(first) = symbols.get(left as usize) else { return };
        let Some(second) = symbols.get(first.next as usize) else { return };
        let found = match &self.merges {
            Merges::Ranked(ranks) => ranks.get(&(first.id, second.id)).copied(),
            Merges::Scored(ranks) => text
                .get(first.start as usize..second.end as usize)
                .and_then(|merged| vocabulary.find(merged))
                .and_then(|id| ranks.get(id as usize).map(|&rank| (rank, id))),
        };
        if let Some((rank, merged)) = found {
            queue.push(Reverse((rank, left, first.end, second.end, merged)));
        }
    }

    /// Merges a queued pair unless it is stale.
    fn merge(
        &self,
        vocabulary: &Vocabulary,
        text: &[u8],
        scratch: &mut MergeScratch,
        left: u32,
        (middle, end): (u32, u32),
        merged: u32,
    ) {
        let Some(first) = scratch.symbols.get(left as usize).copied() else { return };
        let Some(second) = scratch.symbols.get(first.next as usize).copied() else { return };
        if first.end != middle || second.end != end || first.start == NONE {
            return;
        }
        if let Some(symbol) = scratch.symbols.get_mut(first.next as usize) {
            // Removed from the list: no queued pair that starts here may be merged.
            symbol.start = NONE;
        }
        if let Some(symbol) = scratch.symbols.get_mut(left as usize) {
            *symbol = Symbol { id: merged, end, next: second.next, ..first };
        }
        if let Some(symbol) = scratch.symbols.get_mut(second.next as usize) {
            symbol.previous = left;
        }
        self.offer(vocabulary, text, &scratch.symbols, first.previous, &mut scratch.queue);
        self.offer(vocabulary, text, &scratch.symbols, left, &mut scratch.queue);
    }

    fn emit(&self, text: &[u8], symbols: &[Symbol], out: &mut Vec<u32>) -> Result<()> {
        let mut at = 0;
        let mut after_unknown = false;
        while let Some(symbol) = symbols.get(at as usize) {
            if symbol.id == NONE {
                let bytes = text.get(symbol.start as usize..symbol.end as usize).unwrap_or(&[]);
                after_unknown = self.emit_unknown(bytes, after_unknown, out)?;
            } else {
                out.push(symbol.id);
                after_unknown = false;
            }
            at = symbol.next;
        }
        Ok(())
    }

    /// Appends tokens for an unknown character; true if that is the unknown token.
    fn emit_unknown(&self, bytes: &[u8], after_unknown: bool, out: &mut Vec<u32>) -> Result<bool> {
        if let Some(ids) = &self.byte_fallback
            && bytes.iter().all(|&byte| ids[byte as usize] != NONE)
        {
            out.extend(bytes.iter().map(|&byte| ids[byte as usize]));
            return Ok(false);
        }
        let unknown = self.unknown.clone()?;
        if !(after_unknown && self.fuse_unknown) {
            out.extend(unknown);
        }
        Ok(unknown.is_some())
    }

    /// True if splitting a text before each run of `mark` does not change its tokens: no merge and
    /// no run of unknown characters crosses the start of a run of marks.
    pub(super) fn splits_before(&self, vocabulary: &Vocabulary, mark: char) -> bool {
        let is_symbol =
            matches!(&self.symbols, BaseSymbols::Characters(ids) if ids.contains_key(&mark));
        is_symbol
            && match &self.merges {
                Merges::Ranked(ranks) => {
                    vocabulary.have_only_leading(mark, ranks.values().map(|&(_, merged)| merged))
                }
                Merges::Scored(_) => {
                    vocabulary.have_only_leading(mark, vocabulary.normal().iter().copied())
                }
            }
    }
}

fn push_symbol(symbols: &mut Vec<Symbol>, id: u32, start: usize, end: usize) {
    let index = symbols.len() as u32;
    let previous = index.checked_sub(1).unwrap_or(NONE);
    if let Some(before) = symbols.last_mut() {
        before.next = index;
    }
    symbols.push(Symbol { id, start: start as u32, end: end as u32, previous, next: NONE });
}

/// Reads one entry of a merge list: the ids of the pair and the id of the merged token. `joined`
/// is working memory. Errors: `malformed` if one of the three texts is not in the vocabulary.
pub(super) fn merge_entry(
    file: &str,
    field: &str,
    rank: usize,
    (left, right): (&str, &str),
    joined: &mut String,
    id: impl Fn(&str) -> Option<u32>,
) -> Result<((u32, u32), u32)> {
    let id = |text: &str| match id(text) {
        Some(id) if !text.is_empty() => Ok(id),
        _ => {
            let found = format!("merge {rank} with {}", quoted(text));
            Err(Error::malformed_value(file, field, found, "tokens of the vocabulary"))
        }
    };
    let pair = (id(left)?, id(right)?);
    joined.clear();
    joined.push_str(left);
    joined.push_str(right);
    Ok((pair, id(joined)?))
}

/// Table of single-byte token ids from `(byte, id)` pairs; [`NONE`] for other bytes.
pub(super) fn byte_table(pairs: impl Iterator<Item = (u8, u32)>) -> Box<[u32; 256]> {
    let mut ids = Box::new([NONE; 256]);
    for (byte, id) in pairs {
        ids[byte as usize] = id;
    }
    ids
}

/// True if the table has a token for at least one byte.
pub(super) fn has_bytes(ids: &[u32; 256]) -> bool {
    ids.iter().any(|&id| id != NONE)
}
