//! Merging: a word becomes tokens by joining its symbols pair by pair, best rank first and of
//! equal ranks the leftmost.
//!
//! Two ways to know which pairs join: a list of merges (byte-level vocabularies, and every
//! `tokenizer.json`), or the scores of the tokens (SentencePiece-style vocabularies without a
//! list), where two neighbors join when their text is a token. A queue keeps both at
//! O(n log n), for SentencePiece does not cut a text into words.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::vocabulary::Vocabulary;
use crate::error::{Error, Result};

/// Most bytes of one word: 56 bytes of memory each while it is merged.
const MAX_WORD_BYTES: usize = 1 << 22;
/// No token: a character that the vocabulary does not hold, or the end of a chain.
const NONE: u32 = u32::MAX;

/// What a word is cut into first.
#[derive(Debug)]
pub(super) enum Atoms {
    /// Bytes; `NONE` where the vocabulary lacks one.
    Bytes(Box<[u32; 256]>),
    /// Characters that are tokens.
    Characters(HashMap<char, u32>),
}

/// Which neighbors join.
#[derive(Debug)]
pub(super) enum Merges {
    /// Left and right id to rank and joined id.
    Ranked(HashMap<(u32, u32), (u32, u32)>),
    /// The rank of every id: the better the score, the lower.
    Scored(Vec<u32>),
}

/// The merging half of a tokenizer.
#[derive(Debug)]
pub(super) struct Bpe {
    pub(super) atoms: Atoms,
    pub(super) merges: Merges,
    /// A word that is a token is taken as it is, whatever the merges say.
    pub(super) ignore_merges: bool,
    /// The tokens that stand for single bytes, for characters the vocabulary does not hold.
    pub(super) byte_fallback: Option<Box<[u32; 256]>>,
    /// The token for anything else; without one it is left out. An error where the file names one
    /// that it does not have, which harms only texts that need it.
    pub(super) unknown: Result<Option<u32>>,
    /// A run of unknown characters gives one token instead of one each.
    pub(super) fuse_unknown: bool,
}

#[derive(Debug, Clone, Copy)]
struct Symbol {
    id: u32,
    start: u32,
    end: u32,
    previous: u32,
    next: u32,
}

/// A pair that may be joined: rank, left symbol, where the left one ends, where the right one
/// ends, the token that comes out. The two ends tell whether the pair still stands.
type Candidate = Reverse<(u32, u32, u32, u32, u32)>;

/// Working memory, kept between words.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    symbols: Vec<Symbol>,
    queue: BinaryHeap<Candidate>,
}

impl Bpe {
    /// Appends the tokens of `word`.
    pub(super) fn encode(
        &self,
        table: &Vocabulary,
        word: &str,
        scratch: &mut Scratch,
        out: &mut Vec<u32>,
    ) -> Result<()> {
        if self.ignore_merges
            && let Some(id) = table.find(word.as_bytes())
        {
            out.push(id);
            return Ok(());
        }
        if word.len() > MAX_WORD_BYTES {
            let message =
                format!("a word of {} bytes, expected at most {MAX_WORD_BYTES}", word.len());
            return Err(Error::invalid_request("text", message));
        }
        self.cut(word, &mut scratch.symbols);
        let text = word.as_bytes();
        scratch.queue.clear();
        for left in 0..scratch.symbols.len() as u32 {
            self.offer(table, text, &scratch.symbols, left, &mut scratch.queue);
        }
        while let Some(Reverse((_, left, middle, end, product))) = scratch.queue.pop() {
            self.join(table, text, scratch, left, (middle, end), product);
        }
        self.emit(text, &scratch.symbols, out)
    }

    /// The symbols a word starts from.
    fn cut(&self, word: &str, symbols: &mut Vec<Symbol>) {
        symbols.clear();
        match &self.atoms {
            Atoms::Bytes(ids) => {
                for (at, &byte) in word.as_bytes().iter().enumerate() {
                    push_symbol(symbols, ids[byte as usize], at, at + 1);
                }
            }
            Atoms::Characters(ids) => {
                for (at, character) in word.char_indices() {
                    let id = ids.get(&character).copied().unwrap_or(NONE);
                    push_symbol(symbols, id, at, at + character.len_utf8());
                }
            }
        }
    }

    /// Queues the pair that starts at symbol `left`, if it joins.
    fn offer(
        &self,
        table: &Vocabulary,
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
                .and_then(|joined| table.find(joined))
                .and_then(|id| ranks.get(id as usize).map(|&rank| (rank, id))),
        };
        if let Some((rank, product)) = found {
            queue.push(Reverse((rank, left, first.end, second.end, product)));
        }
    }

    /// Joins a queued pair unless one of its sides has changed since.
    fn join(
        &self,
        table: &Vocabulary,
        text: &[u8],
        scratch: &mut Scratch,
        left: u32,
        (middle, end): (u32, u32),
        product: u32,
    ) {
        let Some(first) = scratch.symbols.get(left as usize).copied() else { return };
        let Some(second) = scratch.symbols.get(first.next as usize).copied() else { return };
        if first.end != middle || second.end != end || first.start == NONE {
            return;
        }
        if let Some(symbol) = scratch.symbols.get_mut(first.next as usize) {
            // Out of the chain: no queued pair that starts here may fire.
            symbol.start = NONE;
        }
        if let Some(symbol) = scratch.symbols.get_mut(left as usize) {
            *symbol = Symbol { id: product, end, next: second.next, ..first };
        }
        if let Some(symbol) = scratch.symbols.get_mut(second.next as usize) {
            symbol.previous = left;
        }
        self.offer(table, text, &scratch.symbols, first.previous, &mut scratch.queue);
        self.offer(table, text, &scratch.symbols, left, &mut scratch.queue);
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

    /// Tokens for a character that is none; true when it gave the unknown token.
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

    /// Whether a text may be cut before each `mark` that follows something else, and gives the same
    /// tokens: no token reaches over such a place, nor does a run of unknown characters.
    pub(super) fn cuts_before(&self, table: &Vocabulary, mark: char) -> bool {
        let is_symbol = matches!(&self.atoms, Atoms::Characters(ids) if ids.contains_key(&mark));
        is_symbol
            && match &self.merges {
                Merges::Ranked(ranks) => {
                    table.start_at(mark, ranks.values().map(|&(_, product)| product))
                }
                Merges::Scored(_) => table.start_at(mark, table.normal().iter().copied()),
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

/// A table of single-byte tokens from `(byte, id)` pairs; the others are none.
pub(super) fn byte_table(pairs: impl Iterator<Item = (u8, u32)>) -> Box<[u32; 256]> {
    let mut ids = Box::new([NONE; 256]);
    for (byte, id) in pairs {
        ids[byte as usize] = id;
    }
    ids
}

/// Whether the table has a token for at least one byte.
pub(super) fn has_bytes(ids: &[u32; 256]) -> bool {
    ids.iter().any(|&id| id != NONE)
}
