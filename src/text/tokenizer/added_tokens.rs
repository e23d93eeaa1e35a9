//! Added tokens, which are matched in the text before it is merged: control tokens such as
//! `<|im_start|>`, and tokens that a file adds to its vocabulary.
//!
//! The leftmost match wins, and of matches that start at the same byte the longest. An
//! Aho–Corasick automaton over the reversed tokens reads the text from its end to its start, so
//! that at each byte it knows the longest token that starts there. The `aho-corasick` crate gives
//! the same matches, but may rescan as many bytes as the longest token has at every position and
//! copies match lists between states: a small hostile file could make both expensive.

use std::ops::Range;

use super::pre_tokenizer_patterns::is_in_word;
use crate::error::{Error, Result};

/// Maximum bytes of all added tokens together; each byte takes 13 bytes of memory.
const MAX_ADDED_BYTES: usize = 1 << 23;
/// Bytes of text that are searched at a time, unless the longest token is longer.
const WINDOW_BYTES: usize = 1 << 16;
/// Index that stands for no token.
const NONE: u32 = u32::MAX;

/// An added token, with the flags of `tokenizer.json`.
#[derive(Debug, Clone, Default)]
pub(super) struct AddedToken {
    pub(super) id: u32,
    pub(super) text: String,
    /// The token in normalized form, if it is matched in the normalized text.
    pub(super) normalized: Option<String>,
    /// Control token: matched only where the caller allows it.
    pub(super) special: bool,
    /// Matches only between characters that are not part of a word.
    pub(super) single_word: bool,
    /// The match includes preceding white space.
    pub(super) lstrip: bool,
    /// The match includes following white space.
    pub(super) rstrip: bool,
}

impl AddedToken {
    /// The text that is matched, and that the token decodes to.
    pub(super) fn form(&self) -> &str {
        self.normalized.as_deref().unwrap_or(&self.text)
    }
}

/// Refuses added tokens whose total size exceeds [`MAX_ADDED_BYTES`].
pub(super) fn check_size(file: &str, field: &str, found: usize) -> Result<()> {
    if found <= MAX_ADDED_BYTES {
        return Ok(());
    }
    let (found, expected) =
        (format!("{found} bytes of added tokens"), format!("at most {MAX_ADDED_BYTES}"));
    Err(Error::malformed_value(file, field, found, expected))
}

/// A segment of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Segment {
    /// Byte range to be merged.
    Text(Range<usize>),
    /// An added token.
    Token(u32),
}

/// A matcher for added tokens in one form of the text (raw or normalized).
#[derive(Debug, Default)]
pub(super) struct AddedTokens {
    tokens: Vec<AddedToken>,
    /// Indices into `tokens`, sorted by text.
    by_text: Vec<u32>,
    trie: Trie,
}

impl AddedTokens {
    /// Creates a matcher. Empty tokens are dropped; of two with the same text the last wins.
    pub(super) fn new(tokens: Vec<AddedToken>) -> Self {
        let tokens: Vec<AddedToken> =
            tokens.into_iter().filter(|token| !token.form().is_empty()).collect();
        let forms: Vec<&[u8]> = tokens.iter().map(|token| token.form().as_bytes()).collect();
        let trie = Trie::new(&forms);
        let mut by_text: Vec<u32> = (0..tokens.len() as u32).collect();
        by_text.sort_by_key(|&index| tokens.get(index as usize).map(|token| token.text.as_str()));
        Self { tokens, by_text, trie }
    }

    /// The token with exactly this text.
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

    /// Passes the segments of `text` to `give` in order. Control tokens are matched only
    /// `with_special`.
    pub(super) fn segments(
        &self,
        text: &str,
        with_special: bool,
        mut give: impl FnMut(Segment) -> Result<()>,
    ) -> Result<()> {
        let mut done = 0;
        // White space after an `rstrip` token, cached: further tokens may lie in the same run.
        let mut space = 0..0;
        for (at, index) in Matches::new(&self.trie, text.as_bytes()) {
            let Some(token) = self.tokens.get(index as usize) else { continue };
            if (token.special && !with_special) || (token.single_word && !stands_alone(text, &at)) {
                continue;
            }
            // White space included in a match is not skipped: the next token may lie in it.
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

/// True if the characters next to `at` are not word characters (`\w`).
fn stands_alone(text: &str, at: &Range<usize>) -> bool {
    let before = text.get(..at.start).and_then(|part| part.chars().next_back());
    let after = text.get(at.end..).and_then(|part| part.chars().next());
    !before.is_some_and(is_in_word) && !after.is_some_and(is_in_word)
}

/// A trie of reversed texts with failure links. Nodes are in breadth-first order, so that the
/// children of a node are adjacent.
#[derive(Debug, Default)]
struct Trie {
    /// Length of each text.
    lengths: Vec<u32>,
    longest: usize,
    /// The root's child for each byte; zero for none.
    root_children: Vec<u32>,
    /// Index of the first child of each node; the children end where those of the next node start.
    children: Vec<u32>,
    /// The byte on the edge to each node.
    bytes: Vec<u8>,
    /// Failure link: the longest other node whose string is a suffix of this node's string.
    failures: Vec<u32>,
    /// The longest text that is a suffix of the node's string, or [`NONE`].
    found: Vec<u32>,
}

impl Trie {
    fn new(texts: &[&[u8]]) -> Self {
        let mut order: Vec<u32> = (0..texts.len() as u32).collect();
        let text = |index: u32| texts.get(index as usize).copied().unwrap_or_default();
        // A stable sort, so that the last of equal texts stays last.
        order.sort_by(|&a, &b| text(a).iter().rev().cmp(text(b).iter().rev()));
        let mut trie = Self {
            lengths: texts.iter().map(|text| text.len() as u32).collect(),
            longest: texts.iter().map(|text| text.len()).max().unwrap_or(0),
            bytes: vec![0],
            found: vec![NONE],
            ..Self::default()
        };
        // For each node of the current level, the indices of the texts in its subtree.
        let mut level: Vec<&[u32]> = vec![&order];
        let (mut depth, mut node) = (0, 0);
        while !level.is_empty() {
            let mut next = Vec::new();
            for group in level {
                let (ending, longer) =
                    group.split_at(group.partition_point(|&i| text(i).len() <= depth));
                if let (Some(&last), Some(found)) = (ending.last(), trie.found.get_mut(node)) {
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

    /// Computes the failure links in breadth-first order.
    fn link(&mut self) {
        self.root_children = vec![0; 256];
        self.failures = vec![0; self.bytes.len()];
        for child in self.children_of(0) {
            if let Some(slot) =
                self.bytes.get(child).and_then(|&byte| self.root_children.get_mut(byte as usize))
            {
                *slot = child as u32;
            }
        }
        for node in 1..self.bytes.len() {
            let failure = self.failures.get(node).copied().unwrap_or(0);
            let found = self.found.get(failure as usize).copied().unwrap_or(NONE);
            if let Some(own) = self.found.get_mut(node).filter(|own| **own == NONE) {
                *own = found;
            }
            for child in self.children_of(node) {
                let next = self.bytes.get(child).map_or(0, |&byte| self.step(failure, byte));
                if let Some(slot) = self.failures.get_mut(child) {
                    *slot = next;
                }
            }
        }
    }

    fn children_of(&self, node: usize) -> Range<usize> {
        let start = |node: usize| self.children.get(node).copied().unwrap_or(0) as usize;
        start(node)..start(node + 1)
    }

    /// The automaton's state after `node` and one more byte.
    fn step(&self, mut node: u32, byte: u8) -> u32 {
        while node != 0 {
            let range = self.children_of(node as usize);
            if let Some(Ok(at)) =
                self.bytes.get(range.clone()).map(|bytes| bytes.binary_search(&byte))
            {
                return (range.start + at) as u32;
            }
            node = self.failures.get(node as usize).copied().unwrap_or(0);
        }
        self.root_children.get(byte as usize).copied().unwrap_or(0)
    }
}

/// Iterator over the matches in a text, from its start: byte range and token index.
struct Matches<'a> {
    trie: &'a Trie,
    text: &'a [u8],
    /// End of the previous match.
    from: usize,
    /// End of the part of the text that has been searched.
    searched: usize,
    /// Start and token index of matches in the last window, in descending order.
    starts: Vec<(usize, u32)>,
}

impl<'a> Matches<'a> {
    fn new(trie: &'a Trie, text: &'a [u8]) -> Self {
        let searched = if trie.longest == 0 { text.len() } else { 0 };
        Self { trie, text, from: 0, searched, starts: Vec::new() }
    }

    fn search(&mut self) {
        let start = self.searched.max(self.from);
        let end = self.text.len().min(start + WINDOW_BYTES.max(self.trie.longest));
        // A token that starts inside the window may end beyond it.
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
