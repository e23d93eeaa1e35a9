//! Filters and tests with Jinja's semantics, where minijinja lacks the filter, an argument or a
//! special case: undefined values are empty and callable, strings are sequences.

use minijinja::filters as jinja;
use minijinja::value::{Rest, StringInput, ValueKind, ValueOrKwargs};
use minijinja::{Error, State, Value};

use super::arguments::{arguments, as_number, as_text, is_set, keywords};
use super::methods::{self, check_format, justify, strip};
use super::numbers::{is_float, python_number};
use super::render_error::refused_value;

/// Maximum batches or slices.
const MAX_COUNT: usize = 4096;
/// Maximum characters of indentation.
const MAX_INDENT_WIDTH: usize = 256;

/// The `length` filter.
pub(super) fn length(value: &Value) -> Result<usize, Error> {
    if value.is_undefined() { Ok(0) } else { jinja::length(value) }
}

/// The `first` filter.
pub(super) fn first(value: &Value) -> Result<Value, Error> {
    if value.is_undefined() { Ok(Value::UNDEFINED) } else { jinja::first(value) }
}

/// The `last` filter.
pub(super) fn last(value: Value) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::Undefined => Ok(Value::UNDEFINED),
        ValueKind::Map => Ok(value.try_iter()?.last().unwrap_or_default()),
        _ => jinja::last(value),
    }
}

/// The `items` filter.
pub(super) fn items(value: &Value) -> Result<Value, Error> {
    if value.is_undefined() { Ok(Value::from(Vec::<Value>::new())) } else { jinja::items(value) }
}

/// The `trim` filter.
pub(super) fn trim(text: StringInput<'_>, chars: Option<&str>) -> Value {
    text.preserve_safety(strip(text.as_str(), chars, true, true).to_owned())
}

/// The `replace` filter.
pub(super) fn replace(
    text: StringInput<'_>,
    old: StringInput<'_>,
    new: StringInput<'_>,
    count: Option<i64>,
) -> Result<Value, Error> {
    let replaced = methods::replace(text.as_str(), old.as_str(), new.as_str(), count)?;
    Ok(text.preserve_safety(replaced))
}

/// The `default` filter.
pub(super) fn default(value: &Value, args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let args = args.into_values();
    // An explicit none is a default like any other value.
    let none = args.first().filter(|first| first.is_none()).cloned();
    let [other, boolean] = arguments(&args, ["default_value", "boolean"], 0)?;
    if value.is_undefined() || (is_set(&boolean) && !value.is_true()) {
        return Ok(none.or(other).unwrap_or_else(|| Value::from("")));
    }
    Ok(value.clone())
}

/// The `int` filter; the default for anything that is not a number.
pub(super) fn int(value: &Value, args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let [default, base] = arguments(&args.into_values(), ["default", "base"], 0)?;
    let default = default.unwrap_or_else(|| Value::from(0));
    let whole = |number: f64| match number.is_finite() && number.abs() < 1e36 {
        true => Value::from(number.trunc() as i128),
        false => default.clone(),
    };
    let Some(text) = value.as_str() else {
        return Ok(match value.kind() {
            ValueKind::Number if value.is_integer() => value.clone(),
            _ => f64::try_from(value.clone()).map_or_else(|_| default.clone(), whole),
        });
    };
    let text = strip(text, None, true, true).replace('_', "");
    let (sign, digits) = text.strip_prefix('-').map_or(("", &*text), |digits| ("-", digits));
    let base = as_number(&base)?
        .and_then(|base| u32::try_from(base).ok())
        .filter(|base| (2..=36).contains(base));
    let base = base.unwrap_or(10);
    let prefix = match base {
        2 => ["0b", "0B"],
        8 => ["0o", "0O"],
        16 => ["0x", "0X"],
        _ => ["", ""],
    };
    let digits = prefix.iter().find_map(|prefix| digits.strip_prefix(prefix)).unwrap_or(digits);
    if let Ok(number) = i128::from_str_radix(&format!("{sign}{digits}"), base) {
        return Ok(Value::from(number));
    }
    Ok(text.parse().map_or(default.clone(), whole))
}

/// The `float` filter; the default for anything that is not a number.
pub(super) fn float(value: &Value, args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let [default] = arguments(&args.into_values(), ["default"], 0)?;
    let number = match value.as_str() {
        Some(text) => strip(text, None, true, true).replace('_', "").parse().ok(),
        None => f64::try_from(value.clone()).ok(),
    };
    Ok(number.map_or_else(|| default.unwrap_or_else(|| Value::from(0.0)), Value::from))
}

/// The `string` filter.
pub(super) fn string(state: &State<'_, '_>, value: &Value) -> Result<Value, Error> {
    match is_float(value) {
        true => Ok(Value::from(python_number(value))),
        false => jinja::string(state, value),
    }
}

/// The `wordcount` filter.
pub(super) fn word_count(text: StringInput<'_>) -> usize {
    let is_between = |character: char| !character.is_alphanumeric() && character != '_';
    text.as_str().split(is_between).filter(|word| !word.is_empty()).count()
}

/// The `center` filter.
pub(super) fn center(text: StringInput<'_>, width: Option<i64>) -> Result<String, Error> {
    justify(text.as_str(), "center", width.unwrap_or(80), None)
}

/// The `truncate` filter.
pub(super) fn truncate(text: StringInput<'_>, args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let names = ["length", "killwords", "end", "leeway"];
    let [length, cuts_words, end, leeway] = arguments(&args.into_values(), names, 0)?;
    let count = |value: &Option<Value>, default: usize| -> Result<usize, Error> {
        Ok(as_number(value)?.map_or(default, |count| usize::try_from(count).unwrap_or(0)))
    };
    let (length, leeway) = (count(&length, 255)?, count(&leeway, 5)?);
    let (text, end) = (text.as_str(), as_text(&end)?.unwrap_or("..."));
    if text.chars().nth(length.saturating_add(leeway)).is_none() {
        return Ok(Value::from(text));
    }
    let kept: String = text.chars().take(length.saturating_sub(end.chars().count())).collect();
    let words = kept.rsplit_once(' ').map_or(&*kept, |(words, _)| words);
    let kept = if is_set(&cuts_words) { &kept } else { words };
    Ok(Value::from(format!("{kept}{end}")))
}

/// The `format` filter.
pub(super) fn format(
    state: &mut State<'_, '_>,
    text: &Value,
    args: Rest<ValueOrKwargs>,
) -> Result<Value, Error> {
    let format = text.as_str().unwrap_or_default();
    check_format(format)?;
    // `*` takes the width from an argument.
    if format.contains('*') {
        return Err(refused_value("a format with `*`", "widths as digits"));
    }
    jinja::format(state, text, args)
}

/// The `indent` filter, whose width may be the string to put before each line.
pub(super) fn indent(text: StringInput<'_>, args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let [width, first, blank] = arguments(&args.into_values(), ["width", "first", "blank"], 0)?;
    let width = match width {
        Some(width) if width.as_str().is_some() => width.to_string(),
        width => {
            let count = width.map_or(Ok(4), usize::try_from)?;
            " ".repeat(count.min(MAX_INDENT_WIDTH + 1))
        }
    };
    if width.len() > MAX_INDENT_WIDTH {
        let found = format!("a width of more than {MAX_INDENT_WIDTH}");
        return Err(refused_value(found, "at most as much"));
    }
    let (first, blank) = (is_set(&first), is_set(&blank));
    let mut out = String::with_capacity(text.as_str().len());
    // The last line has no line break, whether it is empty or not.
    for (number, line) in text.as_str().split('\n').enumerate() {
        let is_indented = if number == 0 { first } else { blank || !line.is_empty() };
        out.push_str(if number == 0 { "" } else { "\n" });
        out.push_str(if is_indented { &width } else { "" });
        out.push_str(line);
    }
    Ok(text.preserve_safety(out))
}

/// The `escape` filter.
pub(super) fn escape(state: &State<'_, '_>, value: &Value) -> Result<Value, Error> {
    match value.is_safe() {
        true => Ok(value.clone()),
        false => Ok(Value::from_safe_string(escaped(StringInput::new(state, value)?.as_str()))),
    }
}

/// The `forceescape` filter.
pub(super) fn force_escape(text: StringInput<'_>) -> Value {
    Value::from_safe_string(escaped(text.as_str()))
}

/// Escapes five characters for HTML, as Jinja does.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// The `batch` filter.
pub(super) fn batch(
    state: &State<'_, '_>,
    value: Value,
    count: usize,
    fill: Option<Value>,
) -> Result<Value, Error> {
    jinja::batch(state, value, bounded(count)?, fill)
}

/// The `slice` filter.
pub(super) fn slice(
    state: &State<'_, '_>,
    value: Value,
    count: usize,
    fill: Option<Value>,
) -> Result<Value, Error> {
    jinja::slice(state, value, bounded(count)?, fill)
}

fn bounded(count: usize) -> Result<usize, Error> {
    match count {
        0..=MAX_COUNT => Ok(count),
        _ => Err(refused_value(format!("a count of {count}"), format!("at most {MAX_COUNT}"))),
    }
}

/// The `dictsort` filter.
pub(super) fn dictsort(value: &Value, args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    jinja::dictsort(value, keywords(args, &["case_sensitive", "by", "reverse"])?)
}

/// The `unique` filter.
pub(super) fn unique(
    state: &State<'_, '_>,
    value: Value,
    args: Rest<ValueOrKwargs>,
) -> Result<Value, Error> {
    jinja::unique(state, value, keywords(args, &["case_sensitive", "attribute"])?)
}

/// The `sort` filter.
pub(super) fn sort(
    state: &State<'_, '_>,
    value: Value,
    args: Rest<ValueOrKwargs>,
) -> Result<Value, Error> {
    jinja::sort(state, value, keywords(args, &["reverse", "case_sensitive", "attribute"])?)
}

/// The `iterable` test: undefined values are iterable, none is not.
pub(super) fn is_iterable(value: &Value) -> bool {
    match value.kind() {
        ValueKind::None => false,
        ValueKind::Undefined => true,
        _ => value.try_iter().is_ok(),
    }
}

/// The `sequence` test: values with a length and subscripts.
pub(super) fn is_sequence(value: &Value) -> bool {
    match value.kind() {
        ValueKind::String | ValueKind::Seq | ValueKind::Map | ValueKind::Undefined => true,
        ValueKind::Iterable => value.len().is_some(),
        _ => false,
    }
}

/// The `callable` test.
pub(super) fn is_callable(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Undefined | ValueKind::Plain)
}
