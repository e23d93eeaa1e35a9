//! Incremental parsing of an answer: reasoning, text and tool calls.
//!
//! Models mark the parts of an answer in the text. The result does not depend on how the text is
//! cut into pieces, and no text is lost: text that starts like a call but turns out not to be one
//! is returned as text. Therefore a call is returned only when it is complete. White space around
//! the parts is removed with the marks.

use serde_json::Value;

use super::delta::{Delta, FunctionCall, ToolCall};
use super::harmony::HarmonyParser;
use super::scan::{Scan, ToolCallText};
use super::scanner::Scanner;
use super::style::{AnswerStyle, CHANNEL, ReasoningFormat};
use super::tool_call_format::{Found, ToolCallFormat, find_mark};
use crate::text::tools::Tools;

enum State {
    /// Start of the answer, only white space so far: reasoning may start.
    Begin,
    Reasoning,
    /// A possible tool call inside reasoning: it is a call only if the reasoning is never closed.
    CallInReasoning {
        scanner: Scanner,
        /// True once the scanner has found a complete call.
        is_complete: bool,
        /// End of the part that has been searched for the end of the reasoning.
        searched: usize,
    },
    /// `first`: only white space so far, so that a bare call may start.
    Text {
        first: bool,
    },
    Call(Scanner),
    AfterCall,
}

/// Treatment of the white space in [`AnswerParser::space`].
#[derive(Clone, Copy, PartialEq)]
enum Gap {
    /// Part of the text.
    Keep,
    /// Between a mark and text: dropped.
    Drop,
    /// Between a call and possible further text: kept if text follows.
    KeepBeforeText,
}

/// Parser of one answer.
pub struct AnswerParser {
    style: AnswerStyle,
    tools: Option<Tools>,
    /// True if the prompt ends inside reasoning.
    opened: bool,
    salt: u64,
    state: State,
    /// Text that is not certain yet, from `at` on.
    held: String,
    at: usize,
    /// White space taken from `held` that may turn out to surround a mark.
    space: String,
    gap: Gap,
    has_text: bool,
    has_reasoning: bool,
    call_count: u64,
    /// Parser of the answers of gpt-oss, which replaces the states above.
    harmony: Option<HarmonyParser>,
}

impl AnswerParser {
    /// Creates a parser for the answer to `prompt`, the rendered chat, which may already open or
    /// close the reasoning. Tool calls are recognized only if there are tools. `salt` makes the
    /// call ids of different answers distinct.
    pub fn new(style: AnswerStyle, prompt: &str, tools: Option<Tools>, salt: u64) -> Self {
        let prompt = if style.reasons { prompt.trim_end() } else { "" };
        let format = style.reasoning;
        let (opened, closed) = (prompt.ends_with(format.open()), prompt.ends_with(format.close()));
        // Reasoning in channels may start anywhere.
        let is_channel = format == ReasoningFormat::Channel;
        let harmony = (style.reasons && format == ReasoningFormat::Harmony)
            .then(|| HarmonyParser::new(tools.is_some()));
        Self {
            style,
            tools,
            opened,
            salt,
            state: if closed || !style.reasons || (is_channel && !opened) {
                State::Text { first: true }
            } else {
                State::Begin
            },
            held: String::new(),
            at: 0,
            space: String::new(),
            gap: if opened || closed { Gap::Drop } else { Gap::Keep },
            has_text: false,
            has_reasoning: false,
            call_count: 0,
            harmony,
        }
    }

    /// Adds text; returns the parts that have become certain.
    pub fn push(&mut self, text: &str) -> Delta {
        if let Some(harmony) = &mut self.harmony {
            let (mut delta, calls) = harmony.push(text);
            self.add_calls(calls, &mut delta);
            return delta;
        }
        self.held.push_str(text);
        let mut delta = Delta::default();
        while self.step(&mut delta) {}
        self.held.drain(..self.at);
        self.at = 0;
        delta
    }

    /// Ends the answer; returns what was held back.
    pub fn finish(&mut self) -> Delta {
        if let Some(harmony) = &mut self.harmony {
            let (mut delta, calls) = harmony.finish();
            self.add_calls(calls, &mut delta);
            return delta;
        }
        if matches!(self.state, State::CallInReasoning { .. }) {
            return self.finish_in_reasoning();
        }
        let mut delta = Delta::default();
        let rest = std::mem::take(&mut self.held);
        let state = std::mem::replace(&mut self.state, State::Text { first: false });
        let reasoning =
            matches!(state, State::Reasoning) || matches!(state, State::Begin if self.opened);
        let part = if reasoning { &mut delta.reasoning } else { &mut delta.text };
        // After a call, only the start of the closing mark can be held.
        if !matches!(state, State::AfterCall) {
            self.emit(&rest, part);
        }
        let space = std::mem::take(&mut self.space);
        part.push_str(if self.gap == Gap::Keep { &space } else { space.trim() });
        delta
    }

    /// Ends an answer whose reasoning was never closed: calls inside it are calls.
    fn finish_in_reasoning(&mut self) -> Delta {
        self.state = State::Text { first: false };
        // Keeps the white space around a call as within text.
        self.has_text |= self.gap == Gap::Keep;
        let mut delta = self.push("");
        delta.extend(self.finish());
        delta.reasoning = std::mem::take(&mut delta.text);
        delta
    }

    /// Advances within one state; returns true if another step may make progress.
    fn step(&mut self, delta: &mut Delta) -> bool {
        match &mut self.state {
            State::Begin => self.step_begin(),
            State::Reasoning => self.step_reasoning(delta),
            State::CallInReasoning { .. } => self.step_call_in_reasoning(delta),
            State::Text { first } => {
                let first = std::mem::replace(first, false);
                self.step_text(first, delta)
            }
            State::Call(scanner) => {
                let Some(tools) = &self.tools else { return false };
                match scanner.advance(&self.held[self.at..], tools) {
                    Scan::More => return false,
                    Scan::Calls(end, calls) => self.take_calls(end, calls, delta),
                    Scan::Broken(end) => {
                        let text = self.take(end);
                        self.emit(&text, &mut delta.text);
                        self.state = State::Text { first: false };
                    }
                }
                true
            }
            State::AfterCall => self.step_after_call(),
        }
    }

    fn step_begin(&mut self) -> bool {
        self.take_space(char::is_whitespace);
        let rest = &self.held[self.at..];
        let open = self.style.reasoning.open();
        let begins = rest.starts_with(open);
        if !begins && open.starts_with(rest) {
            return false;
        }
        if begins {
            self.at += open.len();
        }
        if begins || self.opened {
            self.drop_space(Gap::Drop);
            self.state = State::Reasoning;
        } else {
            self.state = State::Text { first: true };
        }
        true
    }

    fn step_reasoning(&mut self, delta: &mut Delta) -> bool {
        let calls = self.style.calls.filter(|_| self.tools.is_some());
        let openings = calls.map_or(&[][..], ToolCallFormat::opening_marks);
        let close = self.style.reasoning.close();
        let marks: Vec<&'static str> = [close].iter().chain(openings).copied().collect();
        let (text, mark) = self.take_until_mark(&marks);
        self.emit(&text, &mut delta.reasoning);
        match (mark, calls) {
            (Some(mark), _) if mark == close => self.end_reasoning(),
            (Some(mark), Some(calls)) => {
                let scanner = calls.scanner(mark);
                self.state = State::CallInReasoning { scanner, is_complete: false, searched: 0 };
            }
            _ => return false,
        }
        true
    }

    fn end_reasoning(&mut self) {
        self.at += self.style.reasoning.close().len();
        self.drop_space(if self.has_text { Gap::KeepBeforeText } else { Gap::Drop });
        self.state = State::Text { first: !self.has_text };
    }

    /// Holds back a possible call until the reasoning or the answer ends.
    fn step_call_in_reasoning(&mut self, delta: &mut Delta) -> bool {
        let State::CallInReasoning { scanner, is_complete, searched } = &mut self.state else {
            return false;
        };
        let Some(tools) = &self.tools else { return false };
        let held = &self.held[self.at..];
        let mut broken = None;
        if !*is_complete {
            match scanner.advance(held, tools) {
                Scan::More => {}
                Scan::Calls(..) => *is_complete = true,
                Scan::Broken(end) => broken = Some(end),
            }
        }
        let read = held.get(*searched..broken.unwrap_or(held.len())).unwrap_or("");
        let close = self.style.reasoning.close();
        let (end, ends) = match (find_mark(read, &[close]), broken) {
            (Found::At(end, _), _) => (*searched + end, true),
            (_, Some(end)) => (end, false),
            (Found::Maybe(end), None) => {
                *searched += end;
                return false;
            }
            (Found::Nowhere, None) => {
                *searched = held.len();
                return false;
            }
        };
        self.state = State::Reasoning;
        let text = self.take(end);
        self.emit(&text, &mut delta.reasoning);
        if ends {
            self.end_reasoning();
        }
        true
    }

    fn step_text(&mut self, first: bool, delta: &mut Delta) -> bool {
        let calls = self.style.calls.filter(|_| self.tools.is_some());
        let has_channels = self.style.reasons && self.style.reasoning == ReasoningFormat::Channel;
        if calls.is_none() && !has_channels {
            let text = self.take(self.held.len() - self.at);
            self.emit(&text, &mut delta.text);
            if self.gap == Gap::Keep {
                delta.text.push_str(&std::mem::take(&mut self.space));
            }
            return false;
        }
        if let Some(calls) = calls
            && first
            && calls == ToolCallFormat::BareJson
        {
            self.take_space(char::is_whitespace);
            match self.held[self.at..].chars().next() {
                Some('{') => {
                    self.state = State::Call(calls.scanner(""));
                    return true;
                }
                Some(_) => {}
                None => {
                    self.state = State::Text { first };
                    return false;
                }
            }
        }
        let mut marks = calls.map_or(&[][..], ToolCallFormat::opening_marks).to_vec();
        let (open, close) = (self.style.reasoning.open(), self.style.reasoning.close());
        if has_channels {
            marks.extend([open, CHANNEL, close]);
        }
        let (text, mark) = self.take_until_mark(&marks);
        self.emit(&text, &mut delta.text);
        match (mark, calls) {
            (None, _) => return false,
            (Some(mark), _) if has_channels && mark == open => self.begin_channel(),
            // A channel without a name, or an end without a channel.
            (Some(mark), _) if has_channels && (mark == CHANNEL || mark == close) => {
                self.at += mark.len();
            }
            (Some(mark), Some(calls)) => self.state = State::Call(calls.scanner(mark)),
            (Some(_), None) => return false,
        }
        true
    }

    /// Enters reasoning in a channel, which may follow text and other reasoning.
    fn begin_channel(&mut self) {
        self.at += self.style.reasoning.open().len();
        self.drop_space(Gap::Drop);
        if self.has_reasoning {
            self.space.push('\n');
            self.gap = Gap::Keep;
        }
        self.state = State::Reasoning;
    }

    fn take_calls(&mut self, end: usize, calls: Vec<ToolCallText>, delta: &mut Delta) {
        self.at += end;
        self.add_calls(calls, delta);
        self.drop_space(if self.has_text { Gap::KeepBeforeText } else { Gap::Drop });
        self.state = State::AfterCall;
    }

    fn add_calls(&mut self, calls: Vec<ToolCallText>, delta: &mut Delta) {
        for (name, arguments) in calls {
            let arguments = Value::Object(arguments).to_string();
            let id = call_id(self.salt, self.call_count, &name, &arguments);
            self.call_count += 1;
            let function = FunctionCall { name, arguments };
            delta.tool_calls.push(ToolCall { id, kind: "function", function });
        }
    }

    /// Expects a closing mark, or another bare call.
    fn step_after_call(&mut self) -> bool {
        let Some(calls) = self.style.calls else { return false };
        let is_bare = calls == ToolCallFormat::BareJson;
        self.take_space(|character| character.is_whitespace() || (is_bare && character == ';'));
        let rest = &self.held[self.at..];
        if rest.is_empty() {
            return false;
        }
        self.state = State::Text { first: false };
        if let Some(mark) = calls.closing_mark() {
            if rest.starts_with(mark) {
                self.at += mark.len();
                self.space.clear();
            } else if mark.starts_with(rest) {
                self.state = State::AfterCall;
                return false;
            }
        } else if is_bare && rest.starts_with('{') {
            self.state = State::Call(calls.scanner(""));
        }
        true
    }

    /// Takes the next `length` bytes of the held text.
    fn take(&mut self, length: usize) -> String {
        let start = self.at;
        self.at += length;
        self.held[start..self.at].to_owned()
    }

    /// Takes the held text up to the first of `marks`, or up to a possible start of one; returns
    /// the text and the mark.
    fn take_until_mark(&mut self, marks: &[&'static str]) -> (String, Option<&'static str>) {
        let (length, mark) = match find_mark(&self.held[self.at..], marks) {
            Found::At(at, mark) => (at, Some(mark)),
            Found::Maybe(at) => (at, None),
            Found::Nowhere => (self.held.len() - self.at, None),
        };
        (self.take(length), mark)
    }

    fn take_space(&mut self, is_space: impl Fn(char) -> bool) {
        let rest = &self.held[self.at..];
        let length = rest.len() - rest.trim_start_matches(is_space).len();
        self.space.push_str(&rest[..length]);
        self.at += length;
    }

    fn drop_space(&mut self, gap: Gap) {
        self.space.clear();
        self.gap = gap;
    }

    /// Appends text to a part of the delta, and holds back trailing white space.
    fn emit(&mut self, text: &str, part: &mut String) {
        let trimmed = text.trim_end();
        if !trimmed.is_empty() {
            let start = part.len();
            part.push_str(&self.space);
            part.push_str(trimmed);
            if self.gap == Gap::Drop {
                let dropped = part[start..].len() - part[start..].trim_start().len();
                part.drain(start..start + dropped);
            }
            self.drop_space(Gap::Keep);
            match self.state {
                State::Reasoning => self.has_reasoning = true,
                _ => self.has_text = true,
            }
        }
        self.space.push_str(&text[trimmed.len()..]);
    }
}

/// FNV-1a hash of everything that identifies a call, as nine base-36 digits.
fn call_id(salt: u64, index: u64, name: &str, arguments: &str) -> String {
    let numbers = [salt.to_le_bytes(), index.to_le_bytes()];
    let bytes = numbers.as_flattened().iter().chain(name.as_bytes()).chain(arguments.as_bytes());
    let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let digit = |_| {
        let digit = char::from_digit((hash % 36) as u32, 36).unwrap_or('0');
        hash /= 36;
        digit
    };
    (0..9).map(digit).collect()
}
