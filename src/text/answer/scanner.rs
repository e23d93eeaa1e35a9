//! Incremental scanners for tool calls: where a call ends, what it contains, and where text that
//! started like a call turns out not to be one. A scanner reads every byte once.

use serde_json::{Map, Value};

use super::tool_call_format::{FUNCTION, Found, TOOL_CALL_END, ToolCallFormat, find_mark};
use crate::text::tools::Tools;

const FUNCTION_END: &str = "</function>";
const PARAMETER: &str = "<parameter=";
const PARAMETER_END: &str = "</parameter>";

/// A function name and its arguments.
pub(super) type ToolCallText = (String, Map<String, Value>);

/// Result of [`Scanner::advance`].
pub(super) enum Scan {
    /// The text may still become a call.
    More,
    /// The call or calls end at this byte.
    Calls(usize, Vec<ToolCallText>),
    /// The text is not a call. Its bytes up to this one, at least one, are ordinary text.
    Broken(usize),
}

/// Scanner of one call.
pub(super) enum Scanner {
    Json(JsonScanner),
    Elements(ElementScanner),
}

impl ToolCallFormat {
    /// Creates a scanner for text that starts with `mark`, or with a bare call if `mark` is empty.
    pub(super) fn scanner(self, mark: &str) -> Scanner {
        match self {
            ToolCallFormat::Elements if mark == FUNCTION => {
                Scanner::Elements(ElementScanner::default())
            }
            ToolCallFormat::Elements => {
                Scanner::Elements(ElementScanner { at: mark.len(), ..ElementScanner::default() })
            }
            _ => Scanner::Json(JsonScanner {
                at: mark.len(),
                only_known: self == ToolCallFormat::BareJson,
                ..JsonScanner::default()
            }),
        }
    }
}

impl Scanner {
    /// Continues the scan in `text`, which starts at the tool call and may only have grown since
    /// the previous invocation.
    pub(super) fn advance(&mut self, text: &str, tools: &Tools) -> Scan {
        match self {
            Scanner::Json(scanner) => scanner.advance(text, tools),
            Scanner::Elements(scanner) => scanner.advance(text, tools),
        }
    }
}

/// Finds the end of a JSON value by counting brackets.
#[derive(Default)]
pub(super) struct JsonScanner {
    at: usize,
    start: Option<usize>,
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// True if JSON that calls an unknown tool is ordinary text.
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
                // Outside strings, JSON contains no `<`: another call may start here.
                (b'<', _) => return Scan::Broken(at),
                _ => {}
            }
            self.at += 1;
        }
        Scan::More
    }
}

/// Calls in `{name, arguments}` or a list of such objects; some models write `parameters` instead
/// of `arguments`.
fn calls_of(json: &str) -> Option<Vec<ToolCallText>> {
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

/// Element that the scanner expects next.
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
    /// Text that shows whether a `</parameter>` ended the value or is part of it.
    AfterValue,
    /// Text that shows whether a `</function>` ended the call or is part of the value: models omit
    /// the last `</parameter>`.
    AfterFunction,
}

/// Scanner of a `<function=…>` element.
#[derive(Default)]
pub(super) struct ElementScanner {
    part: Part,
    at: usize,
    /// Start of the current name, key or value.
    start: usize,
    /// End of the value, if it has ended.
    value_end: usize,
    /// End of the function element, if it has ended.
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

    /// Expects one of `marks`, after white space.
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

    /// Reads a name, up to `>`.
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

    /// Reads a value, up to its possible end.
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

    /// Continues the value if the text that looked like its end is part of it.
    fn or_more_value(&mut self, expected: Result<(), Scan>) -> Result<(), Scan> {
        match expected {
            Err(Scan::Broken(_)) => {
                self.part = Part::Value;
                Ok(())
            }
            other => other,
        }
    }

    /// Stores the value without the line breaks that delimit it.
    fn keep(&mut self, text: &str, tools: &Tools) {
        let value = text.get(self.start..self.value_end).unwrap_or("");
        let value = value.strip_prefix('\n').unwrap_or(value);
        let value = value.strip_suffix('\n').unwrap_or(value);
        let value = tools.argument(&self.name, &self.key, value);
        self.arguments.insert(std::mem::take(&mut self.key), value);
    }
}
