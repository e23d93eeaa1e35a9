//! Filters and tests as Jinja has them, where the engine's own lack one, an argument or a meaning:
//! an undefined value is empty and callable, a text is a sequence.

use minijinja::filters;
use minijinja::value::{Kwargs, Rest, StringInput, ValueKind, ValueOrKwargs};
use minijinja::{Error, State, Value};

use super::chat_functions::number;
use super::chat_methods::{arguments, as_number, as_text, justify, replace, strip};
use super::template_guard::refused;

/// Most items, characters or spaces that a number may ask for.
const MAX_COUNT: usize = 4096;

/// The `length` filter.
pub(super) fn length(value: &Value) -> Result<usize, Error> {
    if value.is_undefined() { Ok(0) } else { filters::length(value) }
}

/// The `first` filter.
pub(super) fn first(value: &Value) -> Result<Value, Error> {
    if value.is_undefined() { Ok(Value::UNDEFINED) } else { filters::first(value) }
}

/// The `last` filter.
pub(super) fn last(value: Value) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::Undefined => Ok(Value::UNDEFINED),
        ValueKind::Map => Ok(value.try_iter()?.last().unwrap_or_default()),
        _ => filters::last(value),
    }
}

/// The `items` filter.
pub(super) fn items(value: &Value) -> Result<Value, Error> {
    if value.is_undefined() { Ok(Value::from(Vec::<Value>::new())) } else { filters::items(value) }
}

/// The `trim` filter.
pub(super) fn trim(text: StringInput<'_>, chars: Option<&str>) -> Value {
    text.preserve_safety(strip(text.as_str(), chars, true, true).to_owned())
}

/// The `replace` filter.
pub(super) fn replaced(
    text: StringInput<'_>,
    old: StringInput<'_>,
    new: StringInput<'_>,
    count: Option<i64>,
) -> Result<Value, Error> {
    Ok(text.preserve_safety(replace(text.as_str(), old.as_str(), new.as_str(), count)?))
}

/// The `default` filter.
pub(super) fn default(value: &Value, args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let args = args.into_values();
    // None is a default like any other where it is given.
    let none = args.first().filter(|first| first.is_none()).cloned();
    let [other, boolean] = arguments(&args, ["default_value", "boolean"], 0)?;
    let replaces_empty = boolean.is_some_and(|boolean| boolean.is_true());
    if value.is_undefined() || (replaces_empty && !value.is_true()) {
        return Ok(none.or(other).unwrap_or_else(|| Value::from("")));
    }
    Ok(value.clone())
}

/// The `int` filter: what is no number is the default.
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

/// The `float` filter: what is no number is the default.
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
        true => Ok(Value::from(number(value))),
        false => filters::string(state, value),
    }
}

/// Whether a number is written with a point or an exponent, for which Python has its own rule.
pub(super) fn is_float(value: &Value) -> bool {
    value.kind() == ValueKind::Number && !value.is_integer()
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
    let kept = if cuts_words.is_some_and(|cuts| cuts.is_true()) { &kept } else { words };
    Ok(Value::from(format!("{kept}{end}")))
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

/// A text for HTML, as Jinja writes the five characters.
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
    filters::batch(state, value, bounded(count)?, fill)
}

/// The `slice` filter.
pub(super) fn slice(
    state: &State<'_, '_>,
    value: Value,
    count: usize,
    fill: Option<Value>,
) -> Result<Value, Error> {
    filters::slice(state, value, bounded(count)?, fill)
}

fn bounded(count: usize) -> Result<usize, Error> {
    match count {
        0..=MAX_COUNT => Ok(count),
        _ => Err(refused(format!("a count of {count}, expected at most {MAX_COUNT}"))),
    }
}

/// Arguments as keywords, whether they came by their names or not.
fn keywords(args: Rest<ValueOrKwargs>, names: &[&'static str]) -> Result<Kwargs, Error> {
    let mut given = Vec::new();
    for (place, value) in args.into_values().into_iter().enumerate() {
        match (Kwargs::try_from(value.clone()), names.get(place)) {
            (Ok(kwargs), _) if value.is_kwargs() => {
                for name in kwargs.args() {
                    given.push((name.to_owned(), kwargs.peek(name)?));
                }
            }
            (_, Some(name)) => given.push(((*name).to_owned(), value)),
            (_, None) => return Err(Error::from(minijinja::ErrorKind::TooManyArguments)),
        }
    }
    Ok(given.into_iter().collect())
}

/// The `dictsort` filter.
pub(super) fn dictsort(value: &Value, args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    filters::dictsort(value, keywords(args, &["case_sensitive", "by", "reverse"])?)
}

/// The `unique` filter.
pub(super) fn unique(
    state: &State<'_, '_>,
    value: Value,
    args: Rest<ValueOrKwargs>,
) -> Result<Value, Error> {
    filters::unique(state, value, keywords(args, &["case_sensitive", "attribute"])?)
}

/// The `sort` filter.
pub(super) fn sort(
    state: &State<'_, '_>,
    value: Value,
    args: Rest<ValueOrKwargs>,
) -> Result<Value, Error> {
    filters::sort(state, value, keywords(args, &["reverse", "case_sensitive", "attribute"])?)
}

/// The `sequence` test: what has a length and items by number or key.
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
