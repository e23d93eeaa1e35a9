//! Tokens that are cut out of the text before it is merged: control tokens such as
//! `<|im_start|>`, and those a file adds to its vocabulary.
//!
//! The match is the leftmost, and of those the longest.

use std::collections::HashMap;
use std::ops::Range;

/// One such token, with the flags of `tokenizer.json`.
#[derive(Debug, Clone, Default)]
pub(super) struct AddedToken {
    pub(super) id: u32,
    pub(super) text: String,
    /// A control token: read only where the caller allows it.
    pub(super) special: bool,
    /// Looked for in the normalised text instead of the text as it was given.
    pub(super) normalized: bool,
    /// Only between characters that are not part of a word.
    pub(super) single_word: bool,
    /// Takes the white space before it along.
    pub(super) lstrip: bool,
    /// Takes the white space after it along.
    pub(super) rstrip: bool,
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
    by_text: HashMap<Vec<u8>, usize>,
    /// For each first byte the distinct lengths of tokens that start with it, longest first.
    lengths: Vec<Vec<usize>>,
}

impl AddedTokens {
    /// A matcher for `tokens`; empty ones are left out, of two with the same text the last counts.
    pub(super) fn new(tokens: Vec<AddedToken>) -> Self {
        let tokens: Vec<AddedToken> = tokens.into_iter().filter(|token| !token.text.is_empty()).collect();
        let mut lengths = vec![Vec::new(); 256];
        let mut by_text = HashMap::with_capacity(tokens.len());
        for (index, token) in tokens.iter().enumerate() {
            let text = token.text.as_bytes();
            by_text.insert(text.to_vec(), index);
            if let Some(list) = text.first().and_then(|&byte| lengths.get_mut(byte as usize)) {
                list.push(text.len());
            }
        }
        for list in &mut lengths {
            list.sort_unstable_by(|a, b| b.cmp(a));
            list.dedup();
        }
        Self { tokens, by_text, lengths }
    }

    /// The token with exactly this text.
    pub(super) fn find(&self, text: &str) -> Option<&AddedToken> {
        self.by_text.get(text.as_bytes()).and_then(|&index| self.tokens.get(index))
    }

    /// `text` in pieces; control tokens are left in the text unless `with_special`.
    pub(super) fn segments(&self, text: &str, with_special: bool) -> Vec<Segment> {
        let mut segments = Vec::new();
        let mut done = 0;
        let mut search = 0;
        while !self.tokens.is_empty()
            && let Some((at, token)) = self.next_match(text, search)
        {
            search = at.end;
            if (token.special && !with_special) || (token.single_word && !stands_alone(text, &at)) {
                continue;
            }
            let (mut start, mut end) = (at.start, at.end);
            if token.lstrip {
                start = done + text.get(done..start).map_or(0, |before| before.trim_end().len());
            }
            if token.rstrip {
                end = text.get(end..).map_or(end, |after| text.len() - after.trim_start().len());
            }
            if start > done {
                segments.push(Segment::Text(done..start));
            }
            segments.push(Segment::Token(token.id));
            done = end;
            search = end;
        }
        if done < text.len() {
            segments.push(Segment::Text(done..text.len()));
        }
        segments
    }

    fn next_match(&self, text: &str, from: usize) -> Option<(Range<usize>, &AddedToken)> {
        let bytes = text.as_bytes();
        for (start, &byte) in bytes.iter().enumerate().skip(from) {
            let lengths = self.lengths.get(byte as usize)?;
            for &length in lengths {
                let found = bytes.get(start..start + length).and_then(|piece| self.by_text.get(piece));
                if let Some(token) = found.and_then(|&index| self.tokens.get(index)) {
                    return Some((start..start + length, token));
                }
            }
        }
        None
    }
}

fn stands_alone(text: &str, at: &Range<usize>) -> bool {
    let in_word = |character: char| character.is_alphanumeric() || character == '_';
    let before = text.get(..at.start).and_then(|part| part.chars().next_back());
    let after = text.get(at.end..).and_then(|part| part.chars().next());
    !before.is_some_and(in_word) && !after.is_some_and(in_word)
}
