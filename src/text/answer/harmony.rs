//! Answers of gpt-oss: messages, each with a header that names a channel and perhaps a recipient.
//!
//! The channel `analysis` is reasoning, other channels are text, and a message to `functions.NAME`
//! is a call of a tool, whatever its channel. Messages to other recipients are for tools that are
//! built into other systems; they are dropped, as by llama.cpp. Source: OpenAI's description of
//! the harmony format.

use super::delta::Delta;
use super::harmony_marks::{CALL, CHANNEL, CONSTRAIN, END, MESSAGE, RETURN, START};
use super::json_calls::arguments_of;
use super::scan::ToolCallText;
use super::tool_call_format::{Found, find_mark};

/// Marks that end a message; the next one may start without an end of this one.
const ENDS: &[&str] = &[START, CHANNEL, END, RETURN, CALL];
/// Start of the recipient in a header.
const RECIPIENT: &str = "to=";
const FUNCTIONS: &str = "functions.";
/// Maximum bytes of a header; longer text is no header.
const MAX_HEADER_BYTES: usize = 1 << 10;

/// Content of a message, as its header states it.
#[derive(Debug, Clone, PartialEq)]
enum Body {
    Reasoning,
    Text,
    Call(String),
    Dropped,
}

enum State {
    /// Before or in a header.
    Header,
    Body(Body),
}

/// Parser of the messages of one answer.
pub(super) struct HarmonyParser {
    with_tools: bool,
    state: State,
    /// Text that is not certain yet, from `at` on.
    held: String,
    at: usize,
    /// End of the part of a call's arguments or of a header that has been searched.
    searched: usize,
    /// True if a part has been returned, so that the next one of its kind is a new paragraph.
    has_reasoning: bool,
    has_text: bool,
    /// True at the start of a message.
    is_new: bool,
}

impl HarmonyParser {
    /// Creates a parser for an answer whose prompt ends with the role of a message.
    pub(super) fn new(with_tools: bool) -> Self {
        Self {
            with_tools,
            state: State::Header,
            held: String::new(),
            at: 0,
            searched: 0,
            has_reasoning: false,
            has_text: false,
            is_new: true,
        }
    }

    /// Adds text; returns the parts that have become certain, and the complete calls.
    pub(super) fn push(&mut self, text: &str) -> (Delta, Vec<ToolCallText>) {
        self.held.push_str(text);
        let (mut delta, mut calls) = (Delta::default(), Vec::new());
        while self.step(false, &mut delta, &mut calls) {}
        self.held.drain(..self.at);
        self.at = 0;
        (delta, calls)
    }

    /// Ends the answer; returns what was held back.
    pub(super) fn finish(&mut self) -> (Delta, Vec<ToolCallText>) {
        let (mut delta, mut calls) = (Delta::default(), Vec::new());
        while self.step(true, &mut delta, &mut calls) {}
        self.held.clear();
        self.at = 0;
        (delta, calls)
    }

    /// Advances within one message; true if another step may make progress.
    fn step(&mut self, is_last: bool, delta: &mut Delta, calls: &mut Vec<ToolCallText>) -> bool {
        if self.at == self.held.len() && !(is_last && self.is_call()) {
            return false;
        }
        match std::mem::replace(&mut self.state, State::Header) {
            State::Header => self.step_header(is_last, delta),
            State::Body(Body::Call(name)) => self.step_call(name, is_last, delta, calls),
            State::Body(body) => self.step_body(body, is_last, delta),
        }
    }

    fn is_call(&self) -> bool {
        matches!(self.state, State::Body(Body::Call(_)))
    }

    fn rest(&self) -> &str {
        self.held.get(self.at..).unwrap_or("")
    }

    fn begin(&mut self, body: Body) {
        self.state = State::Body(body);
        self.searched = 0;
        self.is_new = true;
    }

    fn step_header(&mut self, is_last: bool, delta: &mut Delta) -> bool {
        let rest = self.rest();
        let tail = rest.trim_start();
        let space = rest.len() - tail.len();
        let starts = [START, CHANNEL, CONSTRAIN, MESSAGE, RECIPIENT];
        let ends = [END, RETURN, CALL];
        let Some(first) = starts.iter().find(|mark| tail.starts_with(**mark)) else {
            let may_start = starts.iter().chain(&ends).any(|mark| mark.starts_with(tail));
            if may_start && !is_last {
                return false;
            }
            if tail.is_empty() {
                self.at = self.held.len();
            } else if let Some(mark) = ends.iter().find(|mark| tail.starts_with(**mark)) {
                // An end without a message.
                self.at += space + mark.len();
            } else {
                // A model that ignores the format.
                self.begin(Body::Text);
            }
            return true;
        };
        // No header is longer than this, which bounds the time for each.
        let most = rest.len().min(MAX_HEADER_BYTES + MESSAGE.len());
        let window = (0..4).find_map(|back| rest.get(self.searched..most.checked_sub(back)?));
        let found = find_mark(window.unwrap_or(""), &[MESSAGE]);
        if let Found::At(at, mark) = found
            && self.searched + at <= MAX_HEADER_BYTES
        {
            let end = self.searched + at;
            let body = self.body_of(rest.get(..end).unwrap_or(""));
            self.at += end + mark.len();
            self.begin(body);
            return true;
        }
        if is_last || rest.len() > MAX_HEADER_BYTES + MESSAGE.len() {
            // Text that only starts like a header.
            let text = rest.get(..space + first.len()).unwrap_or("").to_owned();
            self.at += text.len();
            self.begin(Body::Text);
            self.emit(&Body::Text, &text, delta);
            return true;
        }
        self.searched = match found {
            Found::Maybe(at) | Found::At(at, _) => self.searched + at,
            Found::Nowhere => rest.len(),
        };
        false
    }

    /// Content that a header announces: the last channel and recipient count.
    fn body_of(&self, header: &str) -> Body {
        let name_after = |mark: &str| {
            let after = header.rsplit_once(mark)?.1;
            let end = after.find(|c: char| c.is_whitespace() || c == '<').unwrap_or(after.len());
            after.get(..end)
        };
        let is_analysis = name_after(CHANNEL) == Some("analysis");
        match name_after(RECIPIENT) {
            None | Some("assistant" | "user" | "all") if is_analysis => Body::Reasoning,
            None | Some("assistant" | "user" | "all") => Body::Text,
            Some(recipient) => match recipient.strip_prefix(FUNCTIONS) {
                Some(name) if self.with_tools && !name.is_empty() => Body::Call(name.to_owned()),
                _ => Body::Dropped,
            },
        }
    }

    fn step_body(&mut self, body: Body, is_last: bool, delta: &mut Delta) -> bool {
        let rest = self.rest();
        let (end, mark) = match find_mark(rest, ENDS) {
            Found::At(at, mark) => (at, Some(mark)),
            Found::Maybe(_) if is_last => (rest.len(), None),
            Found::Maybe(at) => (at, None),
            Found::Nowhere => (rest.len(), None),
        };
        let text = rest.get(..end).unwrap_or("").to_owned();
        self.at += end;
        self.emit(&body, &text, delta);
        let Some(mark) = mark else {
            self.state = State::Body(body);
            return end > 0;
        };
        self.end_message(mark);
        true
    }

    fn end_message(&mut self, mark: &str) {
        if ![START, CHANNEL].contains(&mark) {
            self.at += mark.len();
        }
        self.state = State::Header;
        self.searched = 0;
    }

    fn emit(&mut self, body: &Body, text: &str, delta: &mut Delta) {
        let (part, has_part) = match body {
            Body::Reasoning => (&mut delta.reasoning, &mut self.has_reasoning),
            Body::Text => (&mut delta.text, &mut self.has_text),
            Body::Call(_) | Body::Dropped => return,
        };
        if text.is_empty() {
            return;
        }
        if std::mem::take(&mut self.is_new) && *has_part {
            part.push('\n');
        }
        *has_part = true;
        part.push_str(text);
    }

    /// Holds the arguments of a call back until the message ends.
    fn step_call(
        &mut self,
        name: String,
        is_last: bool,
        delta: &mut Delta,
        calls: &mut Vec<ToolCallText>,
    ) -> bool {
        let rest = self.rest();
        let unread = rest.get(self.searched..).unwrap_or("");
        let (end, mark) = match find_mark(unread, ENDS) {
            Found::At(at, mark) => (self.searched + at, Some(mark)),
            _ if is_last => (rest.len(), None),
            Found::Maybe(at) => {
                self.searched += at;
                self.state = State::Body(Body::Call(name));
                return false;
            }
            Found::Nowhere => {
                self.searched = rest.len();
                self.state = State::Body(Body::Call(name));
                return false;
            }
        };
        let arguments = rest.get(..end).unwrap_or("").to_owned();
        self.at += end;
        if let Some(found) = arguments_of(&arguments) {
            calls.push((name, found));
        } else if arguments.trim().is_empty() && mark.is_some() {
            calls.push((name, serde_json::Map::new()));
        } else {
            self.emit(&Body::Text, &arguments, delta);
        }
        self.end_message(mark.unwrap_or(""));
        true
    }
}
