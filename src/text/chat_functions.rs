//! What Hugging Face adds to Jinja for chat templates: `tojson`, `raise_exception` and
//! `strftime_now`, written as Python writes; and Jinja's own functions that take a width, limited.

use std::fmt::{self, Write};

use minijinja::filters::format as any_format;
use minijinja::value::{Rest, StringInput, ValueKind, ValueOrKwargs};
use minijinja::{Error, ErrorKind, State, Value};

use super::chat_methods::arguments;

/// How deep a value may nest that is written as JSON.
const MAX_DEPTH: usize = 128;
/// Most bytes of JSON, as of a prompt: indented, a small value gives many.
const MAX_JSON_BYTES: usize = 1 << 24;
/// Most spaces of one level of indentation.
const MAX_INDENT: usize = 32;
/// Most spaces before the lines of a text.
const MAX_WIDTH: usize = 256;

/// What a template said when it refused its input.
#[derive(Debug)]
pub(super) struct RaisedException(pub(super) String);

impl fmt::Display for RaisedException {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RaisedException {}

/// `raise_exception(message)`.
pub(super) fn raise_exception(message: String) -> Result<Value, Error> {
    let error = Error::new(ErrorKind::InvalidOperation, "the template raised an exception");
    Err(error.with_source(RaisedException(message)))
}

/// The `format` filter.
pub(super) fn format(
    state: &mut State<'_, '_>,
    text: &Value,
    args: Rest<ValueOrKwargs>,
) -> Result<Value, Error> {
    let format = text.as_str().unwrap_or_default();
    check_format(format)?;
    // A width given as an argument.
    if format.contains('*') {
        return Err(Error::new(ErrorKind::InvalidOperation, "a format with `*`"));
    }
    any_format(state, text, args)
}

/// The `indent` filter, whose width may be the text itself that stands before each line.
pub(super) fn indent(text: StringInput<'_>, args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let [width, first, blank] = arguments(&args.into_values(), ["width", "first", "blank"], 0)?;
    let width = match width {
        Some(width) if width.as_str().is_some() => width.to_string(),
        width => {
            let count = width.map_or(Ok(4), usize::try_from)?;
            " ".repeat(count.min(MAX_WIDTH + 1))
        }
    };
    if width.len() > MAX_WIDTH {
        let message = format!("a width of more than {MAX_WIDTH}, expected at most as much");
        return Err(Error::new(ErrorKind::InvalidOperation, message));
    }
    let is_set = |flag: Option<Value>| flag.is_some_and(|flag| flag.is_true());
    let (first, blank) = (is_set(first), is_set(blank));
    let mut out = String::with_capacity(text.as_str().len());
    // The last line stays without a break, whether there is text in it or not.
    for (number, line) in text.as_str().split('\n').enumerate() {
        let begins = if number == 0 { first } else { blank || !line.is_empty() };
        out.push_str(if number == 0 { "" } else { "\n" });
        out.push_str(if begins { &width } else { "" });
        out.push_str(line);
    }
    Ok(text.preserve_safety(out))
}

/// The `iterable` test as Python has it: none is not, what is undefined is.
pub(super) fn is_iterable(value: &Value) -> bool {
    match value.kind() {
        ValueKind::None => false,
        ValueKind::Undefined => true,
        _ => value.try_iter().is_ok(),
    }
}

/// Refuses formats with widths of more than three digits.
pub(super) fn check_format(text: &str) -> Result<(), Error> {
    let mut digits = 0;
    for character in text.chars() {
        digits = if character.is_ascii_digit() { digits + 1 } else { 0 };
        if digits > 3 {
            let message = "a format with a number of more than three digits";
            return Err(Error::new(ErrorKind::InvalidOperation, message));
        }
    }
    Ok(())
}

/// The `tojson` filter: Python's `json.dumps` with `ensure_ascii=False`, and its arguments
/// `indent`, `separators`, `sort_keys`, `ensure_ascii`.
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
    let is_set = |flag: Option<Value>| flag.is_some_and(|flag| flag.is_true());
    let (sort_keys, ensure_ascii) = (is_set(sort_keys), is_set(ensure_ascii));
    let writer = JsonWriter { indent, separators, sort_keys, ensure_ascii };
    let mut out = String::new();
    writer.value(value, 0, &mut out)?;
    check_length(&out)?;
    Ok(Value::from(out))
}

fn check_length(out: &str) -> Result<(), Error> {
    if out.len() > MAX_JSON_BYTES {
        let message = format!("more than {MAX_JSON_BYTES} bytes of JSON, expected at most as many");
        return Err(Error::new(ErrorKind::BadSerialization, message));
    }
    Ok(())
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
            return Err(Error::new(ErrorKind::BadSerialization, "a value nests too deep for JSON"));
        }
        check_length(out)?;
        match value.kind() {
            ValueKind::None => out.push_str("null"),
            ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => out.push_str(&number(value)),
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
            kind => {
                let message = format!("a value of the kind {kind} is not JSON");
                return Err(Error::new(ErrorKind::BadSerialization, message));
            }
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
                ValueKind::Number => self.text(&number(&key), out),
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

    /// What stands before an item: an opening bracket or the separator, and the new line.
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
                // What is too long already is refused when it is done.
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

/// A number as Python writes it in JSON.
pub(super) fn number(value: &Value) -> String {
    if value.is_integer() {
        return value.to_string();
    }
    let Ok(number) = f64::try_from(value.clone()) else { return value.to_string() };
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    // The digits of the shortest form, with Python's bounds for the exponent.
    let text = format!("{number:?}");
    match text.split_once('e') {
        Some((digits, exponent)) => match exponent.strip_prefix('-') {
            Some(exponent) => format!("{}e-{exponent:0>2}", digits.trim_end_matches(".0")),
            None => format!("{}e+{exponent:0>2}", digits.trim_end_matches(".0")),
        },
        None => text,
    }
}

/// A date and time of day, for templates that write the date. Given by the caller: the browser
/// and the command line learn it in different ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CivilTime {
    year: i64,
    month: u32,
    day: u32,
    seconds: u32,
    days: i64,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const DAY_SECONDS: i64 = 86_400;

impl CivilTime {
    /// The time `seconds` after 1970-01-01 00:00, in the time zone the caller means: add the
    /// offset for local time. Years outside 1 to 9999 give the nearest of them.
    pub fn from_unix(seconds: i64) -> Self {
        let seconds = seconds.clamp(-62_135_596_800, 253_402_300_799);
        let days = seconds.div_euclid(DAY_SECONDS);
        // Counted from 1 March of year 0, so that leap days come last; 146,097 days are 400 years.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let seconds = seconds.rem_euclid(DAY_SECONDS) as u32;
        Self { year, month: month as u32, day: day as u32, seconds, days }
    }

    /// As `strftime` with the C locale: `%Y %y %m %d %e %B %b %A %a %j %H %I %M %S %p %F %T %D
    /// %%`; an error for other directives.
    pub(super) fn format(&self, format: &str) -> Result<String, Error> {
        let mut out = String::new();
        let mut characters = format.chars();
        while let Some(character) = characters.next() {
            if character != '%' {
                out.push(character);
                continue;
            }
            let unpadded = characters.as_str().starts_with('-');
            let directive = if unpadded { characters.nth(1) } else { characters.next() };
            let part = directive.and_then(|directive| self.part(directive)).ok_or_else(|| {
                let shown = directive.map_or(String::new(), String::from);
                Error::new(
                    ErrorKind::InvalidOperation,
                    format!("strftime_now does not know `%{shown}`"),
                )
            })?;
            let trimmed = part.trim_start_matches(['0', ' ']);
            out.push_str(match (unpadded, trimmed) {
                (true, "") => "0",
                (true, trimmed) => trimmed,
                (false, _) => &part,
            });
        }
        Ok(out)
    }

    fn part(&self, directive: char) -> Option<String> {
        let (hour, minute, second) =
            (self.seconds / 3600, self.seconds / 60 % 60, self.seconds % 60);
        let month = MONTHS.get(self.month as usize - 1)?;
        // 1970-01-01 was a Thursday.
        let weekday = WEEKDAYS.get((self.days + 3).rem_euclid(7) as usize)?;
        let new_year = Self::days_before(self.year);
        Some(match directive {
            'Y' => self.year.to_string(),
            'y' => format!("{:02}", self.year.rem_euclid(100)),
            'm' => format!("{:02}", self.month),
            'd' => format!("{:02}", self.day),
            'e' => format!("{:2}", self.day),
            'B' => (*month).to_owned(),
            'b' | 'h' => month.chars().take(3).collect(),
            'A' => (*weekday).to_owned(),
            'a' => weekday.chars().take(3).collect(),
            'j' => format!("{:03}", self.days - new_year + 1),
            'H' => format!("{hour:02}"),
            'I' => format!("{:02}", (hour + 11) % 12 + 1),
            'M' => format!("{minute:02}"),
            'S' => format!("{second:02}"),
            'p' => if hour < 12 { "AM" } else { "PM" }.to_owned(),
            'F' => format!("{}-{:02}-{:02}", self.year, self.month, self.day),
            'T' => format!("{hour:02}:{minute:02}:{second:02}"),
            'D' => format!("{:02}/{:02}/{:02}", self.month, self.day, self.year.rem_euclid(100)),
            '%' => "%".to_owned(),
            _ => return None,
        })
    }

    /// Days from 1970-01-01 to the first day of `year`.
    fn days_before(year: i64) -> i64 {
        let before = year - 1;
        365 * before + before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400)
            - 719_162
    }
}
