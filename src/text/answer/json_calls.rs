//! Tool calls as JSON: objects that name a function, lists of them, and arguments after a name.

use serde_json::{Map, Value};

use super::scan::{Scan, ToolCallText};
use super::tool_call_format::{ARGUMENTS, CALL_ID};
use crate::text::tools::Tools;

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
    /// Function whose arguments the JSON is; without one, the JSON names the function.
    function: Option<String>,
}

impl JsonScanner {
    /// Scanner after a mark of `at` bytes. With `only_known`, JSON that calls an unknown tool is
    /// ordinary text.
    pub(super) fn after(at: usize, only_known: bool) -> Self {
        Self { at, only_known, ..Self::default() }
    }

    /// Continues the scan; see `Scanner::advance`.
    pub(super) fn advance(&mut self, text: &str, tools: &Tools) -> Scan {
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
                        let calls = match &self.function {
                            Some(name) => {
                                arguments_of(json).map(|found| vec![(name.clone(), found)])
                            }
                            None => calls_of(json),
                        };
                        let calls = calls.filter(|calls| {
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
pub(super) fn calls_of(json: &str) -> Option<Vec<ToolCallText>> {
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

/// Arguments of a call as a JSON object.
pub(super) fn arguments_of(json: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(json).ok()
}

/// Scanner of `NAME[ARGS]{…}`, of `NAME[CALL_ID]ID[ARGS]{…}`, or of a list of calls as JSON.
#[derive(Default)]
pub(super) struct MistralScanner {
    at: usize,
    /// Start of the name or of the id.
    start: usize,
    name: Option<String>,
    /// Scanner of the arguments or of the list, once they begin.
    json: Option<JsonScanner>,
}

impl MistralScanner {
    /// Scanner after a mark of `at` bytes.
    pub(super) fn after(at: usize) -> Self {
        Self { at, start: at, ..Self::default() }
    }

    /// Continues the scan; see `Scanner::advance`.
    pub(super) fn advance(&mut self, text: &str, tools: &Tools) -> Scan {
        loop {
            if let Some(json) = &mut self.json {
                return json.advance(text, tools);
            }
            let rest = text.get(self.at..).unwrap_or("");
            let is_list = self.name.is_none()
                && text.get(self.start..self.at).is_some_and(|name| name.trim().is_empty());
            match rest.bytes().next() {
                None => return Scan::More,
                Some(b'[') if is_list => {
                    self.json = Some(JsonScanner { at: self.at, ..JsonScanner::default() });
                }
                Some(b'[') => {
                    let marks = [ARGUMENTS, CALL_ID];
                    let Some(mark) = marks.iter().find(|mark| rest.starts_with(**mark)) else {
                        let possible = marks.iter().any(|mark| mark.starts_with(rest));
                        return if possible { Scan::More } else { Scan::Broken(self.at) };
                    };
                    let label = text.get(self.start..self.at).unwrap_or("").trim();
                    if self.name.is_none() && label.is_empty() {
                        return Scan::Broken(self.at);
                    }
                    self.name.get_or_insert_with(|| label.to_owned());
                    self.at += mark.len();
                    self.start = self.at;
                    if *mark == ARGUMENTS {
                        let (at, function) = (self.at, self.name.take());
                        self.json = Some(JsonScanner { at, function, ..JsonScanner::default() });
                    }
                }
                Some(b'<' | b'{' | b'"') => return Scan::Broken(self.at),
                Some(_) => {
                    let is_space = rest.starts_with(char::is_whitespace);
                    // A name and an id contain no white space.
                    if is_space && !is_list {
                        let label = text.get(self.start..self.at).unwrap_or("");
                        if !label.trim().is_empty() {
                            return Scan::Broken(self.at);
                        }
                    }
                    self.at += rest.chars().next().map_or(1, char::len_utf8);
                }
            }
        }
    }
}
