//! The `tojson` filter, with the output of Python's `json.dumps`.

use std::fmt::Write;

use minijinja::value::{Rest, ValueKind, ValueOrKwargs};
use minijinja::{Error, ErrorKind, Value};

use super::arguments::{arguments, is_set};
use super::budget::MAX_DEPTH;
use super::numbers::python_number;
use crate::error::mismatch;

/// Maximum bytes of JSON, equal to those of a prompt: indentation can make a small value long.
const MAX_JSON_BYTES: usize = 1 << 24;
/// Maximum spaces of one level of indentation; more are clamped.
const MAX_INDENT: usize = 32;

/// The `tojson` filter: Python's `json.dumps` with `ensure_ascii=False` by default, and the
/// arguments `indent`, `separators`, `sort_keys` and `ensure_ascii`.
pub(super) fn to_json(value: &Value, args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let names = ["ensure_ascii", "indent", "separators", "sort_keys"];
    let [ensure_ascii, indent, separators, sort_keys] = arguments(&args.into_values(), names, 0)?;
    let indent = indent.map(usize::try_from).transpose()?.map(|indent| indent.min(MAX_INDENT));
    let separators = match separators {
        Some(pair) => {
            let text = |index| pair.get_item_by_index(index).map(|text| text.to_string());
            (text(0)?, text(1)?)
        }
        // Python writes no space at the end of an indented line.
        None => (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned()),
    };
    let (sort_keys, ensure_ascii) = (is_set(&sort_keys), is_set(&ensure_ascii));
    let writer = JsonWriter { indent, separators, sort_keys, ensure_ascii };
    let mut out = String::new();
    writer.value(value, 0, &mut out)?;
    check_length(&out)?;
    Ok(Value::from(out))
}

fn check_length(out: &str) -> Result<(), Error> {
    if out.len() > MAX_JSON_BYTES {
        let found = format!("more than {MAX_JSON_BYTES} bytes of JSON");
        return Err(bad_json(found, "at most as many"));
    }
    Ok(())
}

fn bad_json(found: impl std::fmt::Display, expected: &str) -> Error {
    Error::new(ErrorKind::BadSerialization, mismatch(found, expected))
}

struct JsonWriter {
    indent: Option<usize>,
    separators: (String, String),
    sort_keys: bool,
    ensure_ascii: bool,
}

impl JsonWriter {
    fn value(&self, value: &Value, depth: usize, out: &mut String) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            let found = format!("a value nested deeper than {MAX_DEPTH}");
            return Err(bad_json(found, "at most as deep"));
        }
        check_length(out)?;
        match value.kind() {
            ValueKind::None => out.push_str("null"),
            ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => out.push_str(&python_number(value)),
            ValueKind::String => self.text(value.as_str().unwrap_or_default(), out),
            ValueKind::Map => self.map(value, depth, out)?,
            ValueKind::Seq | ValueKind::Iterable => {
                let mut first = true;
                for item in value.try_iter()? {
                    self.separate(if first { '[' } else { ',' }, depth + 1, out);
                    first = false;
                    self.value(&item, depth + 1, out)?;
                }
                self.close(first, ('[', ']'), depth, out);
            }
            kind => return Err(bad_json(kind, "a value that JSON can represent")),
        }
        Ok(())
    }

    fn map(&self, value: &Value, depth: usize, out: &mut String) -> Result<(), Error> {
        let mut keys: Vec<Value> = value.try_iter()?.collect();
        if self.sort_keys {
            keys.sort_by_key(ToString::to_string);
        }
        let mut first = true;
        for key in keys {
            self.separate(if first { '{' } else { ',' }, depth + 1, out);
            first = false;
            match key.kind() {
                ValueKind::Number => self.text(&python_number(&key), out),
                ValueKind::Bool => self.text(if key.is_true() { "true" } else { "false" }, out),
                ValueKind::None => self.text("null", out),
                _ => self.text(&key.to_string(), out),
            }
            out.push_str(&self.separators.1);
            self.value(&value.get_item(&key)?, depth + 1, out)?;
        }
        self.close(first, ('{', '}'), depth, out);
        Ok(())
    }

    /// Writes an opening bracket or a separator, and a line break if indented.
    fn separate(&self, mark: char, depth: usize, out: &mut String) {
        if mark == ',' {
            out.push_str(&self.separators.0);
        } else {
            out.push(mark);
        }
        self.line(depth, out);
    }

    fn close(&self, empty: bool, (open, close): (char, char), depth: usize, out: &mut String) {
        if empty {
            out.push(open);
        } else {
            self.line(depth, out);
        }
        out.push(close);
    }

    fn line(&self, depth: usize, out: &mut String) {
        if let Some(indent) = self.indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent * depth));
        }
    }

    fn text(&self, text: &str, out: &mut String) {
        out.push('"');
        for character in text.chars() {
            match character {
                // Refused by `check_length` afterwards.
                _ if out.len() > MAX_JSON_BYTES => break,
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                '\0'..='\u{1f}' => escape(character, out),
                '\u{7f}'.. if self.ensure_ascii && character != '\u{7f}' => escape(character, out),
                _ => out.push(character),
            }
        }
        out.push('"');
    }
}

fn escape(character: char, out: &mut String) {
    for unit in character.encode_utf16(&mut [0; 2]) {
        // Writing to a string cannot fail.
        let _ = write!(out, "\\u{unit:04x}");
    }
}
