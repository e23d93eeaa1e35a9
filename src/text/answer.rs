//! An answer's parts while it arrives: reasoning, text and tool calls.
//!
//! What a model marks in its answer is text like any other; this takes it apart. Two promises:
//! it does not matter in which pieces the text comes, and nothing is lost: what begins like a
//! call and is none is text. A call is therefore given when it is complete. White space around
//! the parts goes with the marks.

use serde::Serialize;
use serde_json::Value;

use super::calls::{Call, CallStyle, Found, Scan, Scanner, find_mark};
use super::tools::Tools;

const THINK: &str = "<think>";
const THINK_END: &str = "</think>";

/// How a chat tells a model whether to reason before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThinkingSwitch {
    /// The template's variable `enable_thinking`.
    Variable,
    /// A line of the system message, for on and for off.
    System(&'static str, &'static str),
}

/// How a checkpoint writes its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AnswerStyle {
    /// Whether it puts its reasoning between `<think>` and `</think>`.
    pub reasons: bool,
    /// How the reasoning is turned on and off.
    pub switch: Option<ThinkingSwitch>,
    /// How it calls tools.
    pub calls: Option<CallStyle>,
}

impl AnswerStyle {
    /// Reads it off the template, which shows the model its own earlier answers: no other field
    /// of a checkpoint says it. `name` is the checkpoint's own name, `has_think_token` whether
    /// its vocabulary has `<think>`.
    pub fn of(template: &str, name: &str, has_think_token: bool) -> Self {
        let has = |text: &str| template.contains(text);
        let name = name.to_lowercase().replace([' ', '_'], "-");
        let switch = if has("enable_thinking") {
            Some(ThinkingSwitch::Variable)
        } else if has("/no_think") {
            Some(ThinkingSwitch::System("/think", "/no_think"))
        } else if has("<|start_header_id|>")
            && (has("<TOOLCALL>") || name.contains("nemotron-nano"))
        {
            // The Llama Nemotrons' templates do not say what these were trained to obey.
            Some(ThinkingSwitch::System("detailed thinking on", "detailed thinking off"))
        } else {
            None
        };
        let calls = if has("<TOOLCALL>") {
            Some(CallStyle::TaggedList)
        } else if has("<function=") {
            Some(CallStyle::Elements)
        } else if has("<tool_call>") {
            Some(CallStyle::TaggedJson)
        } else if has("<|start_header_id|>") && has("\"parameters\": ") {
            Some(CallStyle::BareJson)
        } else {
            None
        };
        Self { reasons: has_think_token || has(THINK_END) || switch.is_some(), switch, calls }
    }

    /// The marks that take such answers apart, which a vocabulary may have as control tokens.
    pub fn marks(self, with_tools: bool) -> Vec<&'static str> {
        let mut marks = if self.reasons { vec![THINK, THINK_END] } else { Vec::new() };
        if let Some(calls) = self.calls.filter(|_| with_tools) {
            marks.extend(calls.opening_marks().iter().chain(calls.closing_mark().as_ref()));
        }
        marks
    }
}

/// A complete call, in OpenAI's shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ToolCall {
    /// Nine letters and digits, as the strictest templates want; the same call in the same
    /// place of a conversation has the same one.
    pub id: String,
    /// `function`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// What is called.
    pub function: FunctionCall,
}

/// A function and its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FunctionCall {
    /// Its name.
    pub name: String,
    /// A JSON object, as text.
    pub arguments: String,
}

/// What has become certain of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Delta {
    /// Of the answer's text.
    pub text: String,
    /// Of the reasoning before it.
    pub reasoning: String,
    /// Calls.
    pub tool_calls: Vec<ToolCall>,
}

impl Delta {
    /// Adds what came later.
    pub fn extend(&mut self, later: Delta) {
        self.text.push_str(&later.text);
        self.reasoning.push_str(&later.reasoning);
        self.tool_calls.extend(later.tool_calls);
    }
}

enum State {
    /// Nothing but white space yet: the reasoning may begin.
    Begin,
    Reasoning,
    /// What looks like a call stands in the reasoning: one if the reasoning is never closed.
    CallInReasoning {
        scanner: Scanner,
        /// Whether the scanner found it whole.
        whole: bool,
        /// How far the end of the reasoning was looked for.
        searched: usize,
    },
    /// `first`: nothing but white space yet, so that a bare call may begin.
    Text {
        first: bool,
    },
    Call(Scanner),
    AfterCall,
}

/// What becomes of the white space in [`AnswerParser::space`].
#[derive(Clone, Copy, PartialEq)]
enum Gap {
    /// It is part of the text.
    Keep,
    /// It stands between a mark and the text.
    Drop,
    /// It stands between a call and what may be more text.
    KeepBeforeText,
}

/// Takes an answer apart.
pub struct AnswerParser {
    style: AnswerStyle,
    tools: Option<Tools>,
    /// Whether the prompt ends inside the reasoning.
    opened: bool,
    salt: u64,
    state: State,
    /// Text that is not certain yet, from `at` on.
    held: String,
    at: usize,
    /// White space that was taken from `held` and may turn out to surround a mark.
    space: String,
    gap: Gap,
    has_text: bool,
    call_count: u64,
}

impl AnswerParser {
    /// A parser for the answer to `prompt`, the rendered chat: a template may open the reasoning
    /// itself, or close it. Calls are looked for only if there are tools. `salt` tells the calls
    /// of different answers apart.
    pub fn new(style: AnswerStyle, prompt: &str, tools: Option<Tools>, salt: u64) -> Self {
        let prompt = if style.reasons { prompt.trim_end() } else { "" };
        let (opened, closed) = (prompt.ends_with(THINK), prompt.ends_with(THINK_END));
        Self {
            style,
            tools,
            opened,
            salt,
            state: if closed || !style.reasons {
                State::Text { first: true }
            } else {
                State::Begin
            },
            held: String::new(),
            at: 0,
            space: String::new(),
            gap: if opened || closed { Gap::Drop } else { Gap::Keep },
            has_text: false,
            call_count: 0,
        }
    }

    /// Adds text; gives what has become certain.
    pub fn push(&mut self, text: &str) -> Delta {
        self.held.push_str(text);
        let mut delta = Delta::default();
        while self.step(&mut delta) {}
        self.held.drain(..self.at);
        self.at = 0;
        delta
    }

    /// Ends the answer; gives what was held back.
    pub fn finish(&mut self) -> Delta {
        if matches!(self.state, State::CallInReasoning { .. }) {
            return self.finish_in_reasoning();
        }
        let mut delta = Delta::default();
        let rest = std::mem::take(&mut self.held);
        let state = std::mem::replace(&mut self.state, State::Text { first: false });
        let reasoning =
            matches!(state, State::Reasoning) || matches!(state, State::Begin if self.opened);
        let part = if reasoning { &mut delta.reasoning } else { &mut delta.text };
        // After a call only the start of its closing mark is held.
        if !matches!(state, State::AfterCall) {
            self.flow(&rest, part);
        }
        let space = std::mem::take(&mut self.space);
        part.push_str(if self.gap == Gap::Keep { &space } else { space.trim() });
        delta
    }

    /// Ends an answer that never closed its reasoning: the calls in it are calls.
    fn finish_in_reasoning(&mut self) -> Delta {
        self.state = State::Text { first: false };
        // What stands around a call is parted as it is in a text.
        self.has_text |= self.gap == Gap::Keep;
        let mut delta = self.push("");
        delta.extend(self.finish());
        delta.reasoning = std::mem::take(&mut delta.text);
        delta
    }

    /// Reads on as far as one state goes; whether there may be more to read.
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
                        self.flow(&text, &mut delta.text);
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
        let begins = rest.starts_with(THINK);
        if !begins && THINK.starts_with(rest) {
            return false;
        }
        if begins {
            self.at += THINK.len();
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
        let openings = calls.map_or(&[][..], CallStyle::opening_marks);
        let marks: Vec<&'static str> = [THINK_END].iter().chain(openings).copied().collect();
        let (end, mark) = match find_mark(&self.held[self.at..], &marks) {
            Found::At(end, mark) => (end, Some(mark)),
            Found::Maybe(end) => (end, None),
            Found::Nowhere => (self.held.len() - self.at, None),
        };
        let text = self.take(end);
        self.flow(&text, &mut delta.reasoning);
        match (mark, calls) {
            (Some(THINK_END), _) => self.end_reasoning(),
            (Some(mark), Some(calls)) => {
                let scanner = calls.scanner(mark);
                self.state = State::CallInReasoning { scanner, whole: false, searched: 0 };
            }
            _ => return false,
        }
        true
    }

    fn end_reasoning(&mut self) {
        self.at += THINK_END.len();
        self.drop_space(Gap::Drop);
        self.state = State::Text { first: true };
    }

    /// Holds back what looks like a call until the reasoning ends after it, or the answer does.
    fn step_call_in_reasoning(&mut self, delta: &mut Delta) -> bool {
        let State::CallInReasoning { scanner, whole, searched } = &mut self.state else {
            return false;
        };
        let Some(tools) = &self.tools else { return false };
        let held = &self.held[self.at..];
        let broken = match scanner {
            scanner if !*whole => match scanner.advance(held, tools) {
                Scan::More => None,
                Scan::Calls(..) => {
                    *whole = true;
                    None
                }
                Scan::Broken(end) => Some(end),
            },
            _ => None,
        };
        let read = held.get(*searched..broken.unwrap_or(held.len())).unwrap_or("");
        let (end, ends) = match (find_mark(read, &[THINK_END]), broken) {
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
        self.flow(&text, &mut delta.reasoning);
        if ends {
            self.end_reasoning();
        }
        true
    }

    fn step_text(&mut self, first: bool, delta: &mut Delta) -> bool {
        let Some(calls) = self.style.calls.filter(|_| self.tools.is_some()) else {
            let text = self.take(self.held.len() - self.at);
            self.flow(&text, &mut delta.text);
            if self.gap == Gap::Keep {
                delta.text.push_str(&std::mem::take(&mut self.space));
            }
            return false;
        };
        if first && calls == CallStyle::BareJson {
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
        let (end, mark) = match find_mark(&self.held[self.at..], calls.opening_marks()) {
            Found::At(end, mark) => (end, Some(mark)),
            Found::Maybe(end) => (end, None),
            Found::Nowhere => (self.held.len() - self.at, None),
        };
        let text = self.take(end);
        self.flow(&text, &mut delta.text);
        if let Some(mark) = mark {
            self.state = State::Call(calls.scanner(mark));
        }
        mark.is_some()
    }

    fn take_calls(&mut self, end: usize, calls: Vec<Call>, delta: &mut Delta) {
        self.at += end;
        for (name, arguments) in calls {
            let arguments = Value::Object(arguments).to_string();
            let id = call_id(self.salt, self.call_count, &name, &arguments);
            self.call_count += 1;
            let function = FunctionCall { name, arguments };
            delta.tool_calls.push(ToolCall { id, kind: "function", function });
        }
        self.drop_space(if self.has_text { Gap::KeepBeforeText } else { Gap::Drop });
        self.state = State::AfterCall;
    }

    /// A closing mark, or another bare call.
    fn step_after_call(&mut self) -> bool {
        let Some(calls) = self.style.calls else { return false };
        let is_bare = calls == CallStyle::BareJson;
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
        } else if rest.starts_with('{') {
            self.state = State::Call(calls.scanner(""));
        }
        true
    }

    /// The next `length` bytes of what is held.
    fn take(&mut self, length: usize) -> String {
        let start = self.at;
        self.at += length;
        self.held[start..self.at].to_owned()
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

    /// Gives text out, except the white space at its end.
    fn flow(&mut self, text: &str, part: &mut String) {
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
            self.has_text |= !matches!(self.state, State::Reasoning);
        }
        self.space.push_str(&text[trimmed.len()..]);
    }
}

/// FNV-1a of all that tells a call apart, in 9 digits to the base of 36.
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
