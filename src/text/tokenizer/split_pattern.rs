//! Split patterns: the regular expressions of pre-tokenizers, which cut text into words.
//!
//! The browser build has no regular expression engine, and the crate's native splitters know only
//! some patterns. The grammar here is what pre-tokenizers use: alternatives of sequences of
//! characters, classes and their repetitions, lookahead at one character or at the end of the text,
//! and groups of short texts, such as `(?i:'s|'t)`. A repetition contains no other, so that the
//! time for a match grows with a power of the length only where repetitions overlap; the number of
//! steps is limited.

use super::char_set::{CharSet, tags_of};
use crate::error::{Error, Result};

/// Maximum bytes of a pattern, maximum alternatives, and maximum parts of an alternative.
const MAX_PATTERN_BYTES: usize = 1 << 13;
const MAX_PARTS: usize = 64;
/// Maximum steps of a split: for each byte of the text, and more for short texts.
const MAX_STEPS_PER_BYTE: u64 = 128;
const MIN_STEPS: u64 = 1 << 20;

/// A compiled pattern.
#[derive(Debug, Clone)]
pub(super) struct SplitPattern {
    alternatives: Vec<Vec<Part>>,
}

/// A part of an alternative.
#[derive(Debug, Clone)]
enum Part {
    /// Between `min` and `max` characters of a set, as many as possible. `is_possessive` if fewer
    /// are not tried.
    Repeat { set: CharSet, min: usize, max: usize, is_possessive: bool },
    /// One of several texts, or nothing if it is optional.
    Choice { texts: Vec<Vec<CharSet>>, is_optional: bool },
    /// Lookahead: the next character is in the set, or it is not, or there is none.
    Ahead { set: CharSet, is_in: bool },
}

impl SplitPattern {
    /// Compiles a regular expression; `None` if it uses syntax outside the grammar, or may match
    /// the empty text.
    pub(super) fn new(regex: &str) -> Option<Self> {
        let mut parser = Parser { rest: regex };
        let mut alternatives = vec![parser.sequence()?];
        while parser.take("|") {
            alternatives.push(parser.sequence()?);
        }
        let is_bounded = regex.len() <= MAX_PATTERN_BYTES && alternatives.len() <= MAX_PARTS;
        let consumes = |part: &Part| match part {
            Part::Repeat { min, .. } => *min > 0,
            Part::Choice { is_optional, .. } => !is_optional,
            Part::Ahead { .. } => false,
        };
        let is_valid = |parts: &Vec<Part>| parts.len() <= MAX_PARTS && parts.iter().any(consumes);
        (is_bounded && parser.rest.is_empty() && alternatives.iter().all(is_valid))
            .then_some(Self { alternatives })
    }

    /// Passes the byte ranges of the matches in `text` and of the text between them to `give`,
    /// with true for a match. `tags` is working memory.
    ///
    /// Errors: `invalid-request` if the search takes too many steps.
    pub(super) fn split(
        &self,
        text: &str,
        tags: &mut Vec<u8>,
        mut give: impl FnMut(usize, usize, bool),
    ) -> Result<()> {
        let most = MIN_STEPS + MAX_STEPS_PER_BYTE * text.len() as u64;
        let mut search = Search { text, tags: tags_of(text, tags), left: most };
        // End of the run in which an alternative that starts with a repetition cannot match.
        let mut dead = vec![0; self.alternatives.len()];
        let (mut gap, mut at) = (0, 0);
        while at < text.len() {
            match self.find(&mut search, at, &mut dead) {
                Some(end) => {
                    if gap < at {
                        give(gap, at, false);
                    }
                    give(at, end, true);
                    (gap, at) = (end, end);
                }
                None => at = search.after(at).map_or(text.len(), |(_, _, next)| next),
            }
            if search.left == 0 {
                let (found, expected) =
                    ("a text that a split pattern takes too long to split", "another text");
                return Err(Error::invalid_value("text", found, expected));
            }
        }
        if gap < text.len() {
            give(gap, text.len(), false);
        }
        Ok(())
    }

    /// End of the match of the first alternative that matches at `at`.
    fn find(&self, search: &mut Search<'_>, at: usize, dead: &mut [usize]) -> Option<usize> {
        for (parts, dead) in self.alternatives.iter().zip(dead) {
            if at < *dead {
                continue;
            }
            if let Some(end) = search.matches(parts, at) {
                return Some(end);
            }
            // What follows the repetition was not found after any character of the run.
            if let Some(Part::Repeat { set, min: 0 | 1, max: usize::MAX, .. }) = parts.first()
                && parts.len() > 1
            {
                *dead = search.run(set, at, usize::MAX).0;
            }
        }
        None
    }
}

/// Search in one text.
struct Search<'a> {
    text: &'a str,
    tags: &'a [u8],
    /// Steps that are left.
    left: u64,
}

impl Search<'_> {
    /// Character at `at`, its tag, and the start of the next one.
    fn after(&self, at: usize) -> Option<(char, u8, usize)> {
        let character = self.text.get(at..)?.chars().next()?;
        Some((character, *self.tags.get(at)?, at + character.len_utf8()))
    }

    /// End of the character at `at` if it is in `set`.
    fn one(&mut self, set: &CharSet, at: usize) -> Option<usize> {
        self.left = self.left.saturating_sub(1);
        let (character, tag, next) = self.after(at).filter(|_| self.left > 0)?;
        set.contains(character, tag).then_some(next)
    }

    /// End and length of the run of at most `max` characters of `set`.
    fn run(&mut self, set: &CharSet, at: usize, max: usize) -> (usize, usize) {
        let (mut end, mut count) = (at, 0);
        while count < max
            && let Some(next) = self.one(set, end)
        {
            (end, count) = (next, count + 1);
        }
        (end, count)
    }

    /// End of the first way in which `parts` match at `at`, in the order of regular expressions.
    fn matches(&mut self, parts: &[Part], at: usize) -> Option<usize> {
        let Some((part, rest)) = parts.split_first() else { return Some(at) };
        match part {
            Part::Repeat { set, min, max, is_possessive } => {
                let (mut end, mut count) = self.run(set, at, *max);
                while count >= *min {
                    if let Some(end) = self.matches(rest, end) {
                        return Some(end);
                    }
                    if *is_possessive || count == 0 || self.left == 0 {
                        return None;
                    }
                    count -= 1;
                    self.left -= 1;
                    end = self.text.get(..end)?.char_indices().next_back()?.0;
                }
                None
            }
            Part::Choice { texts, is_optional } => {
                let mut whole = texts.iter().filter_map(|text| {
                    let end = text.iter().try_fold(at, |at, set| self.one(set, at))?;
                    self.matches(rest, end)
                });
                let found = whole.next();
                drop(whole);
                if found.is_none() && *is_optional { self.matches(rest, at) } else { found }
            }
            Part::Ahead { set, is_in } => {
                let found = self.one(set, at).is_some();
                if found == *is_in { self.matches(rest, at) } else { None }
            }
        }
    }
}

/// Parser of a pattern.
struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn take(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn next(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let character = characters.next();
        self.rest = characters.as_str();
        character
    }

    fn sequence(&mut self) -> Option<Vec<Part>> {
        let mut parts = Vec::new();
        while !self.rest.is_empty() && !self.rest.starts_with('|') {
            let part = if self.take("(?!") {
                self.ahead(false)?
            } else if self.take("(?=") {
                self.ahead(true)?
            } else if self.take("$") {
                Part::Ahead { set: CharSet::default().complement(), is_in: false }
            } else if self.take("(?i:") {
                self.choice(true)?
            } else if self.take("(?:") {
                self.choice(false)?
            } else {
                let set = self.set()?;
                self.repeat(set)?
            };
            parts.push(part);
        }
        Some(parts)
    }

    /// Lookahead at one character.
    fn ahead(&mut self, is_in: bool) -> Option<Part> {
        let set = self.set()?;
        self.take(")").then_some(Part::Ahead { set, is_in })
    }

    /// A group of texts.
    fn choice(&mut self, ignores_case: bool) -> Option<Part> {
        let mut texts = vec![Vec::new()];
        while !self.take(")") {
            if self.take("|") {
                texts.push(Vec::new());
                continue;
            }
            let mut set = self.set()?;
            if ignores_case {
                set.fold_case();
            }
            texts.last_mut()?.push(set);
        }
        let is_valid = texts.len() <= MAX_PARTS
            && texts.iter().all(|text| (1..=MAX_PARTS).contains(&text.len()))
            && !self.rest.starts_with(['*', '+', '{']);
        let is_optional = self.take("?");
        is_valid.then_some(Part::Choice { texts, is_optional })
    }

    /// The quantifier after a set, if there is one.
    fn repeat(&mut self, set: CharSet) -> Option<Part> {
        let (min, max) = if self.take("?") {
            (0, 1)
        } else if self.take("*") {
            (0, usize::MAX)
        } else if self.take("+") {
            (1, usize::MAX)
        } else if self.take("{") {
            let (bounds, rest) = self.rest.split_once('}')?;
            self.rest = rest;
            let (min, max) = bounds.split_once(',').unwrap_or((bounds, bounds));
            let max = if max.is_empty() { usize::MAX } else { max.parse().ok()? };
            (min.parse().ok()?, max)
        } else {
            return Some(Part::Repeat { set, min: 1, max: 1, is_possessive: false });
        };
        let is_possessive = self.take("+");
        // Lazy repetitions are not implemented.
        (min <= max && !self.rest.starts_with(['?', '*', '+', '{'])).then_some(Part::Repeat {
            set,
            min,
            max,
            is_possessive,
        })
    }

    /// A character, an escape or a class.
    fn set(&mut self) -> Option<CharSet> {
        match self.next()? {
            '[' => self.class(),
            '\\' => match self.escape()? {
                Escape::Set(set, name) => CharSet::are_whole(&[name]).then_some(set),
                Escape::Character(character) => Some(CharSet::of(character)),
            },
            '.' | '^' | '$' | '(' | ')' | '|' | '*' | '+' | '?' | '{' => None,
            character => Some(CharSet::of(character)),
        }
    }

    /// A class, up to its closing bracket.
    fn class(&mut self) -> Option<CharSet> {
        let is_negated = self.take("^");
        let (mut set, mut names) = (CharSet::default(), Vec::new());
        while !self.take("]") {
            if self.rest.starts_with("&&") {
                return None;
            }
            let first = match self.next()? {
                '[' => return None,
                '\\' => match self.escape()? {
                    Escape::Set(other, name) => {
                        names.push(name);
                        if !set.insert(&other) {
                            return None;
                        }
                        continue;
                    }
                    Escape::Character(character) => character,
                },
                character => character,
            };
            if self.rest.starts_with('-') && !self.rest.starts_with("-]") && self.take("-") {
                let last = match self.next()? {
                    '\\' => match self.escape()? {
                        Escape::Set(..) => return None,
                        Escape::Character(character) => character,
                    },
                    '[' => return None,
                    character => character,
                };
                if first > last {
                    return None;
                }
                set.insert_range(first, last);
            } else {
                set.insert_range(first, first);
            }
        }
        let is_whole = CharSet::are_whole(&names);
        is_whole.then(|| if is_negated { set.complement() } else { set })
    }

    /// An escape after its backslash.
    fn escape(&mut self) -> Option<Escape> {
        let category = |name: &str| CharSet::category(name);
        Some(match self.next()? {
            's' => Escape::Set(CharSet::white_space(), String::new()),
            'S' => Escape::Set(CharSet::white_space().complement(), String::new()),
            'd' => Escape::Set(category("Nd")?, String::new()),
            'p' if self.take("{") => {
                let (name, rest) = self.rest.split_once('}')?;
                self.rest = rest;
                Escape::Set(category(name)?, name.to_owned())
            }
            'r' => Escape::Character('\r'),
            'n' => Escape::Character('\n'),
            't' => Escape::Character('\t'),
            other if other.is_ascii_alphanumeric() => return None,
            other => Escape::Character(other),
        })
    }
}

/// An escape sequence.
enum Escape {
    /// A set, and the name of its category if it has one.
    Set(CharSet, String),
    Character(char),
}
