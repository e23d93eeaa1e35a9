//! Tool calls in Python's syntax, such as `[now(), weather(place="Oslo", days=3)]`.
//!
//! Names may contain dots, and `true`, `false` and `null` are accepted besides Python's literals.

use serde_json::{Map, Number, Value};

use super::json_calls::calls_of;
use super::scan::{Scan, ToolCallText};

/// Maximum nesting of lists and dictionaries.
const MAX_DEPTH: usize = 64;

/// Scanner of a list of calls, or of a single one.
#[derive(Default)]
pub(super) struct PythonScanner {
    at: usize,
    start: Option<usize>,
    depth: usize,
    /// Quotation mark of the string that the scanner is in.
    quote: Option<u8>,
    escaped: bool,
}

impl PythonScanner {
    /// Scanner after a mark of `at` bytes.
    pub(super) fn after(at: usize) -> Self {
        Self { at, ..Self::default() }
    }

    /// Continues the scan; see `Scanner::advance`.
    pub(super) fn advance(&mut self, text: &str) -> Scan {
        while let Some(&byte) = text.as_bytes().get(self.at) {
            let at = self.at;
            match (byte, self.quote) {
                _ if self.escaped => self.escaped = false,
                (b'\\', Some(_)) => self.escaped = true,
                (_, Some(quote)) => self.quote = self.quote.filter(|_| byte != quote),
                (b' ' | b'\n' | b'\r' | b'\t', None) => {}
                (b'[' | b'(' | b'{', None) => {
                    self.start.get_or_insert(at);
                    self.depth += 1;
                }
                (b']' | b')' | b'}', None) if self.depth > 0 => {
                    self.depth -= 1;
                    if let (0, Some(start)) = (self.depth, self.start) {
                        let found = text.get(start..=at).and_then(parse);
                        return found
                            .map_or(Scan::Broken(at + 1), |calls| Scan::Calls(at + 1, calls));
                    }
                }
                (b'"' | b'\'', None) if self.depth > 0 => self.quote = Some(byte),
                // Outside strings, calls contain no `<`: another call may start here.
                (b'<', None) => return Scan::Broken(at),
                _ if self.start.is_some() => {}
                _ if byte.is_ascii_alphabetic() || byte == b'_' => self.start = Some(at),
                _ => return Scan::Broken(at),
            }
            self.at += 1;
        }
        Scan::More
    }
}

/// Calls in a list, a single call, or calls as JSON.
fn parse(text: &str) -> Option<Vec<ToolCallText>> {
    let mut parser = Parser { rest: text };
    let calls = if parser.take("[") {
        parser.list("]", Parser::call)
    } else {
        parser.call().map(|call| vec![call])
    };
    let calls = calls.filter(|calls| !calls.is_empty() && parser.rest.is_empty());
    calls.or_else(|| calls_of(text))
}

/// Recursive parser.
struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn take(&mut self, mark: &str) -> bool {
        let rest = self.rest.trim_start();
        let after = rest.strip_prefix(mark);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    /// Takes the characters of a class, after white space; at least one.
    fn word(&mut self, is_in: impl Fn(char) -> bool) -> Option<&'a str> {
        let rest = self.rest.trim_start();
        let end = rest.find(|character| !is_in(character)).unwrap_or(rest.len());
        let (word, rest) = rest.split_at(end);
        self.rest = rest;
        Some(word).filter(|word| !word.is_empty())
    }

    /// Items up to `end`, separated by commas, the last of which may be followed by one.
    fn list<T>(
        &mut self,
        end: &str,
        mut item: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let mut items = Vec::new();
        loop {
            if self.take(end) {
                return Some(items);
            }
            items.push(item(self)?);
            if !self.take(",") {
                return self.take(end).then_some(items);
            }
        }
    }

    fn call(&mut self) -> Option<ToolCallText> {
        let name = self.word(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '-'))?;
        if !self.take("(") {
            return None;
        }
        let arguments = self.list(")", |parser| {
            let key = parser.word(|c| c.is_alphanumeric() || c == '_')?;
            let value = if parser.take("=") { parser.value(0)? } else { return None };
            Some((key.to_owned(), value))
        })?;
        Some((name.to_owned(), arguments.into_iter().collect::<Map<_, _>>()))
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth == MAX_DEPTH {
            return None;
        }
        if self.take("[") {
            return self.list("]", |parser| parser.value(depth + 1)).map(Value::Array);
        }
        if self.take("(") {
            return self.list(")", |parser| parser.value(depth + 1)).map(Value::Array);
        }
        if self.take("{") {
            let entries = self.list("}", |parser| {
                let key = match parser.value(depth + 1)? {
                    Value::String(key) => key,
                    key @ (Value::Number(_) | Value::Bool(_) | Value::Null) => key.to_string(),
                    Value::Array(_) | Value::Object(_) => return None,
                };
                if !parser.take(":") {
                    return None;
                }
                Some((key, parser.value(depth + 1)?))
            });
            return entries.map(|entries| Value::Object(entries.into_iter().collect()));
        }
        if self.rest.trim_start().starts_with(['"', '\'']) {
            return self.string().map(Value::String);
        }
        let word = self.word(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '+'))?;
        match word {
            "True" | "true" => Some(Value::Bool(true)),
            "False" | "false" => Some(Value::Bool(false)),
            "None" | "null" => Some(Value::Null),
            word => number(word),
        }
    }

    /// A string in single or double quotation marks, possibly tripled.
    fn string(&mut self) -> Option<String> {
        let quote = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| self.take(quote))?;
        let mut text = String::new();
        loop {
            if let Some(rest) = self.rest.strip_prefix(quote) {
                self.rest = rest;
                return Some(text);
            }
            let mut characters = self.rest.chars();
            let character = characters.next()?;
            self.rest = characters.as_str();
            if character != '\\' {
                text.push(character);
                continue;
            }
            let escaped = characters.next()?;
            self.rest = characters.as_str();
            match escaped {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'r' => text.push('\r'),
                'b' => text.push('\u{8}'),
                'f' => text.push('\u{c}'),
                '0' => text.push('\0'),
                '\n' => {}
                '\\' | '\'' | '"' | '/' => text.push(escaped),
                'x' => text.push(self.code_point(2)?),
                'u' => text.push(self.utf16()?),
                'U' => text.push(self.code_point(8)?),
                // Python keeps the backslash of an unknown escape.
                other => text.extend(['\\', other]),
            }
        }
    }

    fn hex(&mut self, digits: usize) -> Option<u32> {
        let (code, rest) = self.rest.split_at_checked(digits)?;
        self.rest = rest;
        u32::from_str_radix(code, 16).ok().filter(|_| !code.starts_with('+'))
    }

    fn code_point(&mut self, digits: usize) -> Option<char> {
        char::from_u32(self.hex(digits)?)
    }

    /// A character written as `\uXXXX`, or as two surrogates, as in JSON.
    fn utf16(&mut self) -> Option<char> {
        let first = self.hex(4)?;
        let is_high = (0xd800..0xdc00).contains(&first);
        let second = match self.rest.strip_prefix("\\u") {
            Some(rest) if is_high => {
                self.rest = rest;
                Some(self.hex(4)? as u16)
            }
            _ => None,
        };
        let units = [first as u16, second.unwrap_or(0)];
        let units = if second.is_some() { &units[..] } else { &units[..1] };
        char::decode_utf16(units.iter().copied()).next()?.ok()
    }
}

/// A number in the syntax of Python or JSON.
fn number(word: &str) -> Option<Value> {
    let digits = word.replace('_', "");
    let digits = digits.strip_prefix('+').unwrap_or(&digits);
    if let Ok(number) = serde_json::from_str::<Number>(digits) {
        return Some(Value::Number(number));
    }
    let is_number = digits.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-'))
        && digits.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '-' | '+'));
    let value = digits.parse::<f64>().ok().filter(|_| is_number)?;
    Number::from_f64(value).map(Value::Number)
}
