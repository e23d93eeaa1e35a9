//! Tool calls as models write them, found while the text arrives: where one ends, what it calls,
//! and where a text that began like one turns out to be none.
//!
//! A scanner reads every byte once, however the text is cut.

use serde_json::{Map, Value};

use super::tools::Tools;

const FUNCTION: &str = "<function=";
const FUNCTION_END: &str = "</function>";
const PARAMETER: &str = "<parameter=";
const PARAMETER_END: &str = "</parameter>";
const TOOL_CALL: &str = "<tool_call>";
const TOOL_CALL_END: &str = "</tool_call>";

/// How a checkpoint writes its calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallStyle {
    /// `<tool_call><function=NAME><parameter=KEY>VALUE</parameter></function></tool_call>`:
    /// Nemotron 3, Qwen3-Coder.
    Elements,
    /// `<tool_call>{"name", "arguments"}</tool_call>`: Hermes, Qwen2.5.
    TaggedJson,
    /// `<TOOLCALL>[{"name", "arguments"}]</TOOLCALL>`: Nemotron Nano 9B v2 and Llama-3.1-Nemotron.
    TaggedList,
    /// `{"name", "parameters"}` as the whole answer, or after `<|python_tag|>`: Llama 3.1.
    BareJson,
}

impl CallStyle {
    /// What begins a call wherever it stands. Some models leave `<tool_call>` out.
    pub(super) fn opening_marks(self) -> &'static [&'static str] {
        match self {
            CallStyle::Elements => &[TOOL_CALL, FUNCTION],
            CallStyle::TaggedJson => &[TOOL_CALL],
            CallStyle::TaggedList => &["<TOOLCALL>"],
            CallStyle::BareJson => &["<|python_tag|>"],
        }
    }

    /// What may follow a call and is no part of the text.
    pub(super) fn closing_mark(self) -> Option<&'static str> {
        match self {
            CallStyle::Elements | CallStyle::TaggedJson => Some(TOOL_CALL_END),
            CallStyle::TaggedList => Some("</TOOLCALL>"),
            CallStyle::BareJson => None,
        }
    }

    /// A scanner for a text that starts with `mark`, or, without one, with a bare call.
    pub(super) fn scanner(self, mark: &str) -> Scanner {
        match self {
            CallStyle::Elements if mark == FUNCTION => Scanner::Elements(ElementScanner::default()),
            CallStyle::Elements => {
                Scanner::Elements(ElementScanner { at: mark.len(), ..ElementScanner::default() })
            }
            _ => Scanner::Json(JsonScanner {
                at: mark.len(),
                only_known: self == CallStyle::BareJson,
                ..JsonScanner::default()
            }),
        }
    }
}

/// A function's name and its arguments.
pub(super) type Call = (String, Map<String, Value>);

/// What a scanner knows.
pub(super) enum Scan {
    /// The text may still become a call.
    More,
    /// The call or calls end at this byte.
    Calls(usize, Vec<Call>),
    /// This is no call; text up to this byte, at least one, is text like any other.
    Broken(usize),
}

/// Reads one call.
pub(super) enum Scanner {
    Json(JsonScanner),
    Elements(ElementScanner),
}

impl Scanner {
    /// Reads on in `text`, which starts where the call does and only ever grows.
    pub(super) fn advance(&mut self, text: &str, tools: &Tools) -> Scan {
        match self {
            Scanner::Json(scanner) => scanner.advance(text, tools),
            Scanner::Elements(scanner) => scanner.advance(text, tools),
        }
    }
}

/// Where one of several marks stands.
pub(super) enum Found {
    At(usize, &'static str),
    /// The text ends with what may become a mark.
    Maybe(usize),
    Nowhere,
}

/// The first of `marks` in `text`. All marks start with `<` and have no other.
pub(super) fn find_mark(text: &str, marks: &[&'static str]) -> Found {
    for (at, _) in text.match_indices('<') {
        let tail = text.get(at..).unwrap_or("");
        if let Some(mark) = marks.iter().find(|mark| tail.starts_with(**mark)) {
            return Found::At(at, mark);
        }
        if marks.iter().any(|mark| mark.starts_with(tail)) {
            return Found::Maybe(at);
        }
    }
    Found::Nowhere
}

/// Finds the end of a JSON value by its brackets.
#[derive(Default)]
pub(super) struct JsonScanner {
    at: usize,
    start: Option<usize>,
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// JSON that calls none of the tools is an answer.
    only_known: bool,
}

impl JsonScanner {
    fn advance(&mut self, text: &str, tools: &Tools) -> Scan {
        while let Some(&byte) = text.as_bytes().get(self.at) {
            let at = self.at;
            match (byte, self.start) {
                (b' ' | b'\n' | b'\r' | b'\t', None) => {}
                (b'{' | b'[', None) => (self.start, self.depth) = (Some(at), 1),
                (_, None) => return Scan::Broken(at),
                _ if self.escaped => self.escaped = false,
                (b'\\', _) if self.in_string => self.escaped = true,
                (b'"', _) => self.in_string = !self.in_string,
                _ if self.in_string => {}
                (b'{' | b'[', _) => self.depth += 1,
                (b'}' | b']', Some(start)) => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        let json = text.get(start..=at).unwrap_or("");
                        let calls = calls_of(json).filter(|calls| {
                            !self.only_known || calls.iter().all(|(name, _)| tools.contains(name))
                        });
                        return calls
                            .map_or(Scan::Broken(at + 1), |calls| Scan::Calls(at + 1, calls));
                    }
                }
                // No JSON has this outside of a text; a new call may start here.
                (b'<', _) => return Scan::Broken(at),
                _ => {}
            }
            self.at += 1;
        }
        Scan::More
    }
}

/// The calls of `{name, arguments}` or a list of them; models write `parameters` as well.
fn calls_of(json: &str) -> Option<Vec<Call>> {
    let calls = match serde_json::from_str(json).ok()? {
        Value::Array(calls) if !calls.is_empty() => calls,
        Value::Object(call) => vec![Value::Object(call)],
        _ => return None,
    };
    let call = |mut call: Value| {
        let key = if call.get("arguments").is_some() { "arguments" } else { "parameters" };
        let arguments = match call.get_mut(key).map(Value::take) {
            Some(Value::Object(arguments)) => arguments,
            Some(Value::String(json)) => serde_json::from_str(&json).ok()?,
            None | Some(Value::Null) => Map::new(),
            Some(_) => return None,
        };
        let name = call.get("name")?.as_str().filter(|name| !name.is_empty())?;
        Some((name.to_owned(), arguments))
    };
    calls.into_iter().map(call).collect()
}

/// What is read next.
#[derive(Default)]
enum Part {
    /// `<function=`.
    #[default]
    Function,
    Name,
    /// `<parameter=` or `</function>`.
    Item,
    Key,
    Value,
    /// What shows that a `</parameter>` ended the value and was not part of it.
    AfterValue,
    /// What shows that a `</function>` did: models forget the last `</parameter>`.
    AfterFunction,
}

/// Reads a function element.
#[derive(Default)]
pub(super) struct ElementScanner {
    part: Part,
    at: usize,
    /// Where the name, key or value that is being read starts.
    start: usize,
    /// Where the value ends, if it does.
    value_end: usize,
    /// Where the function ends, if it does.
    function_end: usize,
    name: String,
    key: String,
    arguments: Map<String, Value>,
}

impl ElementScanner {
    fn advance(&mut self, text: &str, tools: &Tools) -> Scan {
        loop {
            let scan = match self.part {
                Part::Function => self.expect(text, &[FUNCTION]).map(|_| self.begin(Part::Name)),
                Part::Name => self.label(text).map(|name| {
                    self.name = name;
                    self.part = Part::Item;
                }),
                Part::Item => match self.expect(text, &[PARAMETER, FUNCTION_END]) {
                    Ok(FUNCTION_END) => return self.finished(self.at),
                    other => other.map(|_| self.begin(Part::Key)),
                },
                Part::Key => self.label(text).map(|key| {
                    self.key = key;
                    self.begin(Part::Value);
                }),
                Part::Value => self.value(text),
                Part::AfterValue => self.after_value(text, tools),
                Part::AfterFunction => match self.expect(text, &[TOOL_CALL_END]) {
                    Ok(_) => {
                        self.keep(text, tools);
                        return self.finished(self.function_end);
                    }
                    other => self.or_more_value(other.map(|_| ())),
                },
            };
            if let Err(scan) = scan {
                return scan;
            }
        }
    }

    fn begin(&mut self, part: Part) {
        self.start = self.at;
        self.part = part;
    }

    fn finished(&mut self, end: usize) -> Scan {
        let call = (std::mem::take(&mut self.name), std::mem::take(&mut self.arguments));
        Scan::Calls(end, vec![call])
    }

    /// One of `marks`, after white space.
    fn expect(&mut self, text: &str, marks: &[&'static str]) -> Result<&'static str, Scan> {
        let rest = text.get(self.at..).unwrap_or("");
        let tail = rest.trim_start();
        self.at += rest.len() - tail.len();
        if let Some(mark) = marks.iter().find(|mark| tail.starts_with(**mark)) {
            self.at += mark.len();
            return Ok(mark);
        }
        let possible = marks.iter().any(|mark| mark.starts_with(tail));
        Err(if possible { Scan::More } else { Scan::Broken(self.at) })
    }

    /// A name, up to its `>`.
    fn label(&mut self, text: &str) -> Result<String, Scan> {
        let rest = text.get(self.at..).unwrap_or("");
        let Some(end) = rest.find(['>', '<', '\n']) else {
            self.at = text.len();
            return Err(Scan::More);
        };
        self.at += end;
        let label = text.get(self.start..self.at).unwrap_or("").trim().to_owned();
        if label.is_empty() || !rest[end..].starts_with('>') {
            return Err(Scan::Broken(self.at));
        }
        self.at += 1;
        Ok(label)
    }

    /// A value, up to what may be its end.
    fn value(&mut self, text: &str) -> Result<(), Scan> {
        match find_mark(text.get(self.at..).unwrap_or(""), &[PARAMETER_END, FUNCTION_END]) {
            Found::At(offset, mark) => {
                self.value_end = self.at + offset;
                self.at = self.value_end + mark.len();
                self.function_end = self.at;
                self.part =
                    if mark == PARAMETER_END { Part::AfterValue } else { Part::AfterFunction };
                Ok(())
            }
            Found::Maybe(offset) => {
                self.at += offset;
                Err(Scan::More)
            }
            Found::Nowhere => {
                self.at = text.len();
                Err(Scan::More)
            }
        }
    }

    fn after_value(&mut self, text: &str, tools: &Tools) -> Result<(), Scan> {
        match self.expect(text, &[PARAMETER, FUNCTION_END]) {
            Ok(mark) => {
                self.at -= mark.len();
                self.keep(text, tools);
                self.part = Part::Item;
                Ok(())
            }
            Err(scan) => self.or_more_value(Err(scan)),
        }
    }

    /// What looked like the end of a value was part of it.
    fn or_more_value(&mut self, expected: Result<(), Scan>) -> Result<(), Scan> {
        match expected {
            Err(Scan::Broken(_)) => {
                self.part = Part::Value;
                Ok(())
            }
            other => other,
        }
    }

    /// Keeps the value without the line breaks that set it apart.
    fn keep(&mut self, text: &str, tools: &Tools) {
        let value = text.get(self.start..self.value_end).unwrap_or("");
        let value = value.strip_prefix('\n').unwrap_or(value);
        let value = value.strip_suffix('\n').unwrap_or(value);
        let value = tools.argument(&self.name, &self.key, value);
        self.arguments.insert(std::mem::take(&mut self.key), value);
    }
}
