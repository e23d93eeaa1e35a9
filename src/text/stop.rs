//! Stop strings: text goes through as it comes, except what may turn out to be the start of one.

use crate::error::{Error, Result};

/// Most stop strings in one request: four times OpenAI's.
const MAX_STRINGS: usize = 16;
/// Most characters of one stop string.
const MAX_CHARS: usize = 1024;

/// Watches a text for the strings that end it.
#[derive(Debug, Clone, Default)]
pub struct StopStrings {
    strings: Vec<String>,
    held: String,
    stopped: Option<usize>,
}

/// What became certain with a piece of text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StopPiece {
    /// Text to show.
    pub text: String,
    /// The stop string that ended the text, by its place in the list; it is not part of the text.
    pub stopped: Option<usize>,
}

impl StopStrings {
    /// A watch for `strings`; `invalid-request` when one is empty or longer than 1024 characters, or
    /// when there are more than 16.
    pub fn new(strings: &[String]) -> Result<Self> {
        if strings.len() > MAX_STRINGS {
            let message =
                format!("found {} strings, expected at most {MAX_STRINGS}", strings.len());
            return Err(Error::invalid_request("stop", message));
        }
        for (index, string) in strings.iter().enumerate() {
            let length = string.chars().count();
            if !(1..=MAX_CHARS).contains(&length) {
                let message = format!("found {length} characters, expected 1 to {MAX_CHARS}");
                return Err(Error::invalid_request(&format!("stop[{index}]"), message));
            }
        }
        Ok(Self { strings: strings.to_vec(), held: String::new(), stopped: None })
    }

    /// Adds text. After a stop everything is dropped.
    pub fn push(&mut self, text: &str) -> StopPiece {
        if self.stopped.is_some() {
            return StopPiece { text: String::new(), stopped: self.stopped };
        }
        self.held.push_str(text);
        // The stop string that is complete first counts, so that it does not matter in which
        // pieces the text comes; of those complete at once the longest, then the first listed.
        let found = self.strings.iter().enumerate().filter_map(|(index, string)| {
            self.held.find(string).map(|at| (at + string.len(), at, index))
        });
        if let Some((_, at, index)) = found.min() {
            self.stopped = Some(index);
            self.held.truncate(at);
            return StopPiece { text: std::mem::take(&mut self.held), stopped: self.stopped };
        }
        let kept = self.held.split_off(self.held.len() - self.possible_start());
        StopPiece { text: std::mem::replace(&mut self.held, kept), stopped: None }
    }

    /// Ends the text; gives what was held back.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// The stop string that was found.
    pub fn stopped(&self) -> Option<usize> {
        self.stopped
    }

    /// How many bytes at the end of what is held may be the start of a stop string.
    fn possible_start(&self) -> usize {
        let longest = self.strings.iter().map(String::len).max().unwrap_or(0);
        let first = self.held.len().saturating_sub(longest);
        let starts = self.held.char_indices().map(|(at, _)| at).filter(|&at| at >= first);
        let possible = |tail: &str| self.strings.iter().any(|string| string.starts_with(tail));
        let mut starts = starts.filter(|&at| self.held.get(at..).is_some_and(possible));
        starts.next().map_or(0, |at| self.held.len() - at)
    }
}
