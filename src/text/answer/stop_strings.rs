//! Stop strings: text passes through, except a tail that may be the start of a stop string.

use crate::error::{Error, Result};

/// Maximum stop strings in a request: four times OpenAI's limit.
pub const MAX_STOP_STRINGS: usize = 16;
/// Maximum characters of one stop string.
pub const MAX_STOP_STRING_CHARS: usize = 1024;

/// Incremental search for stop strings in generated text.
#[derive(Debug, Clone, Default)]
pub struct StopStrings {
    strings: Vec<String>,
    held: String,
    stopped: Option<usize>,
}

/// Result of [`StopStrings::push`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StopPiece {
    /// Text that contains no part of a stop string.
    pub text: String,
    /// Index of the stop string that ended the text; it is not part of the text.
    pub stopped: Option<usize>,
}

impl StopStrings {
    /// Creates a search for `strings`; `invalid-request` if one of them is empty or longer than
    /// 1024 characters, or if there are more than 16.
    pub fn new(strings: &[String]) -> Result<Self> {
        if strings.len() > MAX_STOP_STRINGS {
            let found = format!("{} strings", strings.len());
            return Err(Error::invalid_value("stop", found, format!("at most {MAX_STOP_STRINGS}")));
        }
        for (index, string) in strings.iter().enumerate() {
            let length = string.chars().count();
            if !(1..=MAX_STOP_STRING_CHARS).contains(&length) {
                let (field, found) = (format!("stop[{index}]"), format!("{length} characters"));
                return Err(Error::invalid_value(
                    &field,
                    found,
                    format!("1 to {MAX_STOP_STRING_CHARS}"),
                ));
            }
        }
        Ok(Self { strings: strings.to_vec(), held: String::new(), stopped: None })
    }

    /// Adds text. After a stop string all text is dropped.
    pub fn push(&mut self, text: &str) -> StopPiece {
        if self.stopped.is_some() {
            return StopPiece { text: String::new(), stopped: self.stopped };
        }
        self.held.push_str(text);
        // The stop string that ends first wins, so that the result does not depend on how the text
        // is cut into pieces. If several end at the same byte, the longest wins, then the first in
        // the list.
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

    /// Ends the text; returns what was held back.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Index of the stop string that was found.
    pub fn stopped(&self) -> Option<usize> {
        self.stopped
    }

    /// Length in bytes of the longest tail that may be the start of a stop string.
    fn possible_start(&self) -> usize {
        let longest = self.strings.iter().map(String::len).max().unwrap_or(0);
        let first = self.held.len().saturating_sub(longest);
        let starts = self.held.char_indices().map(|(at, _)| at).filter(|&at| at >= first);
        let possible = |tail: &str| self.strings.iter().any(|string| string.starts_with(tail));
        let mut starts = starts.filter(|&at| self.held.get(at..).is_some_and(possible));
        starts.next().map_or(0, |at| self.held.len() - at)
    }
}
