//! Tokens that are cut out of the text before it is merged: control tokens such as
//! `<|im_start|>`, and those a file adds to its vocabulary.
//!
//! The match is the leftmost, and of those the longest. A trie of the tokens spelled backwards, in
//! which every node knows the longest other node that it ends with (Aho and Corasick), is led over
//! the text from its end to its start: at each byte it knows the longest token that starts there.
//! The crate of that name has the same answers, but can read as much text again at each byte as the
//! longest token has, and copies lists of tokens from node to node: a small file decides over both.

use std::ops::Range;

use super::cuts::is_in_word;
use crate::error::{Error, Result};

/// Most bytes of all such tokens together; each takes 13 bytes of memory.
const MAX_ADDED_BYTES: usize = 1 << 23;
/// Bytes of text that are searched at a time, or as many as the longest token has.
const WINDOW: usize = 1 << 16;
/// No token.
const NONE: u32 = u32::MAX;

/// One such token, with the flags of `tokenizer.json`.
#[derive(Debug, Clone, Default)]
pub(super) struct AddedToken {
    pub(super) id: u32,
    pub(super) text: String,
    /// What is looked for in the normalized text, instead of `text` in the text as it was given.
    pub(super) normalized: Option<String>,
    /// A control token: read only where the caller allows it.
    pub(super) special: bool,
    /// Only between characters that are not part of a word.
    pub(super) single_word: bool,
    /// Takes the white space before it along.
    pub(super) lstrip: bool,
    /// Takes the white space after it along.
    pub(super) rstrip: bool,
}

impl AddedToken {
    /// What is looked for, and what the token decodes to.
    pub(super) fn form(&self) -> &str {
        self.normalized.as_deref().unwrap_or(&self.text)
    }
}

/// Refuses more added tokens than there is memory for.
pub(super) fn check_size(file: &str, field: &str, found: usize) -> Result<()> {
    if found <= MAX_ADDED_BYTES {
        return Ok(());
    }
    let message = format!("{found} bytes of added tokens, expected at most {MAX_ADDED_BYTES}");
    Err(Error::malformed(file, field, message))
}

/// A piece of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Segment {
    /// Bytes to be merged.
    Text(Range<usize>),
    /// An added token.
    Token(u32),
}

/// The tokens that are looked for in one form of the text.
#[derive(Debug, Default)]
pub(super) struct AddedTokens {
    tokens: Vec<AddedToken>,
    /// Their places, ordered by text.
    by_text: Vec<u32>,
    trie: Trie,
}

impl AddedTokens {
    /// A matcher for `tokens`; empty ones are left out, of two with the same text the last counts.
    pub(super) fn new(tokens: Vec<AddedToken>) -> Self {
        let tokens: Vec<AddedToken> =
            tokens.into_iter().filter(|token| !token.form().is_empty()).collect();
        let forms: Vec<&[u8]> = tokens.iter().map(|token| token.form().as_bytes()).collect();
        let trie = Trie::new(&forms);
        let mut by_text: Vec<u32> = (0..tokens.len() as u32).collect();
        by_text.sort_by_key(|&index| tokens.get(index as usize).map(|token| token.text.as_str()));
        Self { tokens, by_text, trie }
    }

    /// The token with exactly this text, as it is written.
    pub(super) fn find(&self, text: &str) -> Option<&AddedToken> {
        let token = |index: u32| self.tokens.get(index as usize);
        let end =
            self.by_text.partition_point(|&index| token(index).is_some_and(|t| *t.text <= *text));
        let last = self.by_text.get(end.checked_sub(1)?);
        last.and_then(|&index| token(index)).filter(|token| token.text == text)
    }

    /// The token with this id.
    pub(super) fn with_id(&self, id: u32) -> Option<&AddedToken> {
        self.tokens.iter().find(|token| token.id == id)
    }

    /// Gives `text` in pieces, in order; control tokens are left in the text unless `with_special`.
    pub(super) fn segments(
        &self,
        text: &str,
        with_special: bool,
        mut give: impl FnMut(Segment) -> Result<()>,
    ) -> Result<()> {
        let mut done = 0;
        // White space that was measured: tokens of white space that take more along lie in one run.
        let mut space = 0..0;
        for (at, index) in Matches::new(&self.trie, text.as_bytes()) {
            let Some(token) = self.tokens.get(index as usize) else { continue };
            if (token.special && !with_special) || (token.single_word && !stands_alone(text, &at)) {
                continue;
            }
            // White space that is taken along is not passed over: the next token may lie in it.
            let (mut start, mut end) = (at.start, at.end);
            if token.lstrip {
                start = done + text.get(done..start).map_or(0, |before| before.trim_end().len());
            }
            if token.rstrip {
                if !space.contains(&end) {
                    space = end..text.len()
                        - text.get(end..).map_or(0, |after| after.trim_start().len());
                }
                end = space.end;
            }
            if start >= end {
                continue;
            }
            if start > done {
                give(Segment::Text(done..start))?;
            }
            give(Segment::Token(token.id))?;
            done = end;
        }
        if done < text.len() {
            give(Segment::Text(done..text.len()))?;
        }
        Ok(())
    }
}

/// Whether no part of a word, in the sense of `\w`, lies beside `at`.
fn stands_alone(text: &str, at: &Range<usize>) -> bool {
    let before = text.get(..at.start).and_then(|part| part.chars().next_back());
    let after = text.get(at.end..).and_then(|part| part.chars().next());
    !before.is_some_and(is_in_word) && !after.is_some_and(is_in_word)
}

/// Texts spelled backwards. Nodes stand by depth, so that the children of one lie side by side.
#[derive(Debug, Default)]
struct Trie {
    /// How long each text is.
    lengths: Vec<u32>,
    longest: usize,
    /// The children of the root by their byte; zero for none.
    roots: Vec<u32>,
    /// Where the children of each node start; they end where those of the next one start.
    children: Vec<u32>,
    /// The byte that leads to each node.
    bytes: Vec<u8>,
    /// The longest other node that spells the end of what this one spells.
    ends: Vec<u32>,
    /// The longest text that is the end of what the node spells.
    found: Vec<u32>,
}

impl Trie {
    fn new(texts: &[&[u8]]) -> Self {
        let mut order: Vec<u32> = (0..texts.len() as u32).collect();
        let text = |index: u32| texts.get(index as usize).copied().unwrap_or_default();
        // Stable, so that of equal texts the last stays the last.
        order.sort_by(|&a, &b| text(a).iter().rev().cmp(text(b).iter().rev()));
        let mut trie = Self {
            lengths: texts.iter().map(|text| text.len() as u32).collect(),
            longest: texts.iter().map(|text| text.len()).max().unwrap_or(0),
            bytes: vec![0],
            found: vec![NONE],
            ..Self::default()
        };
        let mut level: Vec<&[u32]> = vec![&order];
        let (mut depth, mut node) = (0, 0);
        while !level.is_empty() {
            let mut next = Vec::new();
            for spelled in level {
                let (whole, longer) =
                    spelled.split_at(spelled.partition_point(|&i| text(i).len() <= depth));
                if let (Some(&last), Some(found)) = (whole.last(), trie.found.get_mut(node)) {
                    *found = last;
                }
                trie.children.push(trie.bytes.len() as u32);
                let byte = |index: u32| text(index).iter().rev().nth(depth).copied().unwrap_or(0);
                for child in longer.chunk_by(|&a, &b| byte(a) == byte(b)) {
                    trie.bytes.push(child.first().map_or(0, |&first| byte(first)));
                    trie.found.push(NONE);
                    next.push(child);
                }
                node += 1;
            }
            (level, depth) = (next, depth + 1);
        }
        trie.children.push(trie.bytes.len() as u32);
        trie.link();
        trie
    }

    /// Fills in what each node ends with, by depth.
    fn link(&mut self) {
        self.roots = vec![0; 256];
        self.ends = vec![0; self.bytes.len()];
        for child in self.children_of(0) {
            if let Some(slot) =
                self.bytes.get(child).and_then(|&byte| self.roots.get_mut(byte as usize))
            {
                *slot = child as u32;
            }
        }
        for node in 1..self.bytes.len() {
            let end = self.ends.get(node).copied().unwrap_or(0);
            let found = self.found.get(end as usize).copied().unwrap_or(NONE);
            if let Some(own) = self.found.get_mut(node).filter(|own| **own == NONE) {
                *own = found;
            }
            for child in self.children_of(node) {
                let next = self.bytes.get(child).map_or(0, |&byte| self.step(end, byte));
                if let Some(slot) = self.ends.get_mut(child) {
                    *slot = next;
                }
            }
        }
    }

    fn children_of(&self, node: usize) -> Range<usize> {
        let start = |node: usize| self.children.get(node).copied().unwrap_or(0) as usize;
        start(node)..start(node + 1)
    }

    /// The node for what `node` spells and one byte before it.
    fn step(&self, mut node: u32, byte: u8) -> u32 {
        while node != 0 {
            let range = self.children_of(node as usize);
            if let Some(Ok(at)) =
                self.bytes.get(range.clone()).map(|bytes| bytes.binary_search(&byte))
            {
                return (range.start + at) as u32;
            }
            node = self.ends.get(node as usize).copied().unwrap_or(0);
        }
        self.roots.get(byte as usize).copied().unwrap_or(0)
    }
}

/// The matches in a text, from its start: where they lie, and which token each is.
struct Matches<'a> {
    trie: &'a Trie,
    text: &'a [u8],
    /// Where the last match ended.
    from: usize,
    /// How far the text has been searched.
    searched: usize,
    /// Where tokens start in the part searched last, from its end.
    starts: Vec<(usize, u32)>,
}

impl<'a> Matches<'a> {
    fn new(trie: &'a Trie, text: &'a [u8]) -> Self {
        let searched = if trie.longest == 0 { text.len() } else { 0 };
        Self { trie, text, from: 0, searched, starts: Vec::new() }
    }

    fn search(&mut self) {
        let start = self.searched.max(self.from);
        let end = self.text.len().min(start + WINDOW.max(self.trie.longest));
        // A token that starts here may end so much later.
        let last = self.text.len().min(end + self.trie.longest);
        let mut node = 0;
        for (at, &byte) in self.text.iter().enumerate().take(last).skip(start).rev() {
            node = self.trie.step(node, byte);
            let found = self.trie.found.get(node as usize).copied().unwrap_or(NONE);
            if found != NONE && at < end {
                self.starts.push((at, found));
            }
        }
        self.searched = end;
    }
}

impl Iterator for Matches<'_> {
    type Item = (Range<usize>, u32);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            while let Some((start, token)) = self.starts.pop() {
                if start >= self.from {
                    self.from = start + self.trie.lengths.get(token as usize).copied()? as usize;
                    return Some((start..self.from, token));
                }
            }
            if self.searched >= self.text.len() {
                return None;
            }
            self.search();
        }
    }
}
