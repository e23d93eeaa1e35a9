//! Tool calls of Gemma 4, such as `call:weather{place:<|"|>Oslo<|"|>,days:3}`: keys without
//! quotation marks, strings between marks of their own, other values as in JSON.

use serde_json::{Map, Value};

use super::scan::Scan;
use super::tool_call_format::QUOTE;

const CALL: &str = "call:";
/// Maximum nesting of lists and objects.
const MAX_DEPTH: usize = 64;

/// Scanner of one call.
#[derive(Default)]
pub(super) struct Gemma4Scanner {
    at: usize,
    /// Start of `call:`, once it has been read.
    start: Option<usize>,
    /// Start of the arguments.
    arguments: usize,
    depth: usize,
    in_string: bool,
}

impl Gemma4Scanner {
    /// Scanner after a mark of `at` bytes.
    pub(super) fn after(at: usize) -> Self {
        Self { at, ..Self::default() }
    }

    /// Continues the scan; see `Scanner::advance`.
    pub(super) fn advance(&mut self, text: &str) -> Scan {
        let Some(start) = self.start else {
            let rest = text.get(self.at..).unwrap_or("");
            let tail = rest.trim_start();
            self.at += rest.len() - tail.len();
            if tail.starts_with(CALL) {
                self.start = Some(self.at);
                self.at += CALL.len();
                return self.advance(text);
            }
            return if CALL.starts_with(tail) { Scan::More } else { Scan::Broken(self.at) };
        };
        while let Some(&byte) = text.as_bytes().get(self.at) {
            let at = self.at;
            match byte {
                b'<' => {
                    let tail = text.get(at..).unwrap_or("");
                    if tail.len() < QUOTE.len() && QUOTE.starts_with(tail) {
                        return Scan::More;
                    }
                    if tail.starts_with(QUOTE) && self.depth > 0 {
                        self.in_string = !self.in_string;
                        self.at += QUOTE.len();
                        continue;
                    }
                    // Outside strings, calls contain no other `<`: another call may start here.
                    if !self.in_string {
                        return Scan::Broken(at);
                    }
                }
                _ if self.in_string => {}
                b'{' | b'[' => {
                    if self.depth == 0 {
                        self.arguments = at;
                    }
                    self.depth += 1;
                }
                b'}' | b']' if self.depth > 0 => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        let name = text.get(start + CALL.len()..self.arguments).unwrap_or("");
                        let mut parser =
                            Parser { rest: text.get(self.arguments..=at).unwrap_or("") };
                        let object = match parser.value(0) {
                            Some(Value::Object(object)) if parser.rest.is_empty() => object,
                            _ => return Scan::Broken(at + 1),
                        };
                        let call = (name.trim().to_owned(), object);
                        return Scan::Calls(at + 1, vec![call]);
                    }
                }
                _ if self.depth > 0 => {}
                // A name.
                _ if byte.is_ascii_alphanumeric() || b"_.-:/".contains(&byte) || byte >= 0x80 => {}
                _ => return Scan::Broken(at),
            }
            if self.depth == 1 && self.arguments == start + CALL.len() {
                // No name.
                return Scan::Broken(at);
            }
            self.at += 1;
        }
        Scan::More
    }
}

/// Recursive parser of values.
struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn take(&mut self, mark: &str) -> bool {
        let after = self.rest.trim_start().strip_prefix(mark);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    /// Items up to `end`, separated by commas.
    fn list<T>(
        &mut self,
        end: &str,
        mut item: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let mut items = Vec::new();
        while !self.take(end) {
            items.push(item(self)?);
            if !self.take(",") {
                return self.take(end).then_some(items);
            }
        }
        Some(items)
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth == MAX_DEPTH {
            return None;
        }
        if self.take("[") {
            return self.list("]", |parser| parser.value(depth + 1)).map(Value::Array);
        }
        if self.take("{") {
            let entries = self.list("}", |parser| {
                let key = parser.key()?;
                Some((key, parser.value(depth + 1)?))
            })?;
            return Some(Value::Object(entries.into_iter().collect::<Map<_, _>>()));
        }
        if self.take(QUOTE) {
            let (text, rest) = self.rest.split_once(QUOTE)?;
            self.rest = rest;
            return Some(Value::String(text.to_owned()));
        }
        let rest = self.rest.trim_start();
        let end = rest.find([',', '}', ']']).unwrap_or(rest.len());
        let (word, rest) = rest.split_at(end);
        self.rest = rest;
        serde_json::from_str(word.trim()).ok()
    }

    /// A key and the colon after it.
    fn key(&mut self) -> Option<String> {
        let key = if self.take(QUOTE) {
            let (key, rest) = self.rest.split_once(QUOTE)?;
            self.rest = rest;
            if !self.take(":") {
                return None;
            }
            key
        } else {
            let (key, rest) = self.rest.split_once(':')?;
            self.rest = rest;
            key.trim()
        };
        let is_key = !key.is_empty() && !key.contains(['{', '}', ',', '\n']);
        is_key.then(|| key.to_owned())
    }
}
