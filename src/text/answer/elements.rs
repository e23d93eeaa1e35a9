//! Incremental scanner of tool calls as elements: `<function=…>` with `<parameter=…>`, or
//! `<function name="…">` with `<param name="…">`.

use serde_json::{Map, Value};

use super::scan::Scan;
use super::tool_call_format::{FUNCTION, Found, NAMED_FUNCTION, TOOL_CALL_END, find_mark};
use crate::text::tools::Tools;

const FUNCTION_END: &str = "</function>";
/// Start of a value in which every mark but its own end is text.
const CDATA: &str = "<![CDATA[";

/// Marks of a form of elements.
struct Syntax {
    function: &'static str,
    parameter: &'static str,
    parameter_end: &'static str,
    /// End of a parameter whose value is in a CDATA section.
    cdata_end: Option<&'static str>,
    /// Character between a name and `>`.
    name_end: &'static str,
}

const PLAIN: Syntax = Syntax {
    function: FUNCTION,
    parameter: "<parameter=",
    parameter_end: "</parameter>",
    cdata_end: None,
    name_end: "",
};
const NAMED: Syntax = Syntax {
    function: NAMED_FUNCTION,
    parameter: "<param name=\"",
    parameter_end: "</param>",
    cdata_end: Some("]]></param>"),
    name_end: "\"",
};

/// Element that the scanner expects next.
enum Part {
    /// `<function=`.
    Function,
    Name,
    /// `<parameter=` or `</function>`.
    Item,
    Key,
    Value,
    /// Text that shows whether a `</parameter>` ended the value or is part of it.
    AfterValue,
    /// Text that shows the same of a `</function>`: models omit the last `</parameter>`.
    AfterFunction,
}

/// Scanner of a function element.
pub(super) struct ElementScanner {
    syntax: &'static Syntax,
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

impl Default for ElementScanner {
    fn default() -> Self {
        Self {
            syntax: &PLAIN,
            part: Part::Function,
            at: 0,
            start: 0,
            value_end: 0,
            function_end: 0,
            name: String::new(),
            key: String::new(),
            arguments: Map::new(),
        }
    }
}

impl ElementScanner {
    /// Scanner of a `<function=…>` element after a mark of `at` bytes.
    pub(super) fn after(at: usize) -> Self {
        Self { at, ..Self::default() }
    }

    /// Scanner of a `<function name="…">` element.
    pub(super) fn named() -> Self {
        Self { syntax: &NAMED, ..Self::default() }
    }

    /// Continues the scan; see `Scanner::advance`.
    pub(super) fn advance(&mut self, text: &str, tools: &Tools) -> Scan {
        loop {
            let scan = match self.part {
                Part::Function => {
                    self.expect(text, &[self.syntax.function]).map(|_| self.begin(Part::Name))
                }
                Part::Name => self.label(text).map(|name| {
                    self.name = name;
                    self.part = Part::Item;
                }),
                Part::Item => match self.expect(text, &[self.syntax.parameter, FUNCTION_END]) {
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
        let label = text.get(self.start..self.at).unwrap_or("").trim();
        let label = label.strip_suffix(self.syntax.name_end).unwrap_or("").to_owned();
        if label.is_empty() || !rest[end..].starts_with('>') {
            return Err(Scan::Broken(self.at));
        }
        self.at += 1;
        Ok(label)
    }

    /// Reads a value, up to its possible end.
    fn value(&mut self, text: &str) -> Result<(), Scan> {
        let Syntax { parameter_end, cdata_end, .. } = *self.syntax;
        let value = text.get(self.start..).unwrap_or("");
        let marks = match cdata_end {
            Some(_) if value.len() < CDATA.len() && CDATA.starts_with(value) => {
                return Err(Scan::More);
            }
            Some(end) if value.starts_with(CDATA) => vec![end],
            Some(_) => vec![parameter_end],
            None => vec![parameter_end, FUNCTION_END],
        };
        match find_mark(text.get(self.at..).unwrap_or(""), &marks) {
            Found::At(offset, mark) => {
                self.value_end = self.at + offset;
                self.at = self.value_end + mark.len();
                self.function_end = self.at;
                self.part =
                    if mark == FUNCTION_END { Part::AfterFunction } else { Part::AfterValue };
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
        match self.expect(text, &[self.syntax.parameter, FUNCTION_END]) {
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
        let value = if let Some(raw) = value.strip_prefix(CDATA) {
            raw
        } else if self.syntax.cdata_end.is_some() {
            value
        } else {
            let value = value.strip_prefix('\n').unwrap_or(value);
            value.strip_suffix('\n').unwrap_or(value)
        };
        let value = tools.argument(&self.name, &self.key, value);
        self.arguments.insert(std::mem::take(&mut self.key), value);
    }
}
