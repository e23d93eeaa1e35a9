//! Methods of strings, lists and mappings with Python's semantics, where minijinja lacks the
//! method, an argument or a special case. Templates are usually tested only against Python.
//!
//! Every method takes time and memory proportional to its arguments; widths are bounded.

use minijinja::value::{Tuple, ValueKind, from_args};
use minijinja::{Error, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::arguments::{arguments, as_number, as_text, is_set};
use super::render_error::{refused, refused_value};

/// Maximum width to which a method pads a string.
const MAX_WIDTH: usize = 4096;
/// Maximum spaces per tab of `expandtabs`.
const MAX_TAB_SIZE: usize = 32;
/// Maximum bytes of a string that `replace` creates.
const MAX_REPLACED_BYTES: usize = 1 << 24;

/// Calls Python's method `name` of a value for which minijinja has no such method.
pub(super) fn method(
    state: &mut State<'_, '_>,
    value: &Value,
    name: &str,
    args: &[Value],
) -> Result<Value, Error> {
    let own = match (value.kind(), value.as_str()) {
        (_, Some(text)) => text_method(text, name, args),
        (ValueKind::Seq | ValueKind::Iterable, _) => list_method(value, name, args),
        (ValueKind::Map, _) if name == "copy" => {
            from_args::<()>(args).map(|()| Some(value.clone()))
        }
        (ValueKind::Plain, _) if name == "fromkeys" => from_keys(args).map(Some),
        (ValueKind::Number, _) if name == "is_integer" => from_args::<()>(args)
            .map(|()| f64::try_from(value.clone()).ok().map(|n| Value::from(n.fract() == 0.0))),
        _ => Ok(None),
    };
    match own? {
        Some(result) => Ok(result),
        None => unknown_method_callback(state, value, name, args),
    }
}

/// True for characters that Python's string methods treat as white space.
pub(super) fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\x1c'..='\x1f').contains(&character)
}

/// `text` without leading and trailing characters of `chars`, or white space.
pub(super) fn strip<'a>(
    text: &'a str,
    chars: Option<&str>,
    at_start: bool,
    at_end: bool,
) -> &'a str {
    let is_gone = |character: char| match chars {
        Some(chars) => chars.contains(character),
        None => is_space(character),
    };
    let text = if at_start { text.trim_start_matches(is_gone) } else { text };
    if at_end { text.trim_end_matches(is_gone) } else { text }
}

/// Refuses formats with widths of more than three digits.
pub(super) fn check_format(text: &str) -> Result<(), Error> {
    let mut digits = 0;
    for character in text.chars() {
        digits = if character.is_ascii_digit() { digits + 1 } else { 0 };
        if digits > 3 {
            let found = "a format with a number of more than three digits";
            return Err(refused_value(found, "at most three"));
        }
    }
    Ok(())
}

fn text_method(text: &str, name: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    Ok(Some(match name {
        "strip" | "lstrip" | "rstrip" => {
            let [chars] = arguments(args, ["chars"], 0)?;
            Value::from(strip(text, as_text(&chars)?, name != "rstrip", name != "lstrip"))
        }
        "split" | "rsplit" => {
            let [sep, limit] = arguments(args, ["sep", "maxsplit"], 0)?;
            let limit = as_number(&limit)?.and_then(|limit| usize::try_from(limit).ok());
            split(text, as_text(&sep)?, limit, name == "rsplit")?
        }
        "splitlines" => {
            let [keep] = arguments(args, ["keepends"], 0)?;
            split_lines(text, is_set(&keep))
        }
        "partition" | "rpartition" => {
            let [sep] = arguments(args, ["sep"], 1)?;
            let sep = as_text(&sep)?.filter(|sep| !sep.is_empty()).ok_or_else(empty_separator)?;
            let parts = if name == "partition" {
                text.split_once(sep).map_or((text, "", ""), |(before, after)| (before, sep, after))
            } else {
                text.rsplit_once(sep).map_or(("", "", text), |(before, after)| (before, sep, after))
            };
            Value::from(Tuple::new([parts.0, parts.1, parts.2].map(Value::from).into()))
        }
        "find" | "index" | "rfind" | "rindex" | "count" | "startswith" | "endswith" => {
            return search(text, name, args);
        }
        "removeprefix" | "removesuffix" => {
            let [part] = arguments(args, ["part"], 1)?;
            let part = as_text(&part)?.unwrap_or_default();
            let rest = if name == "removeprefix" {
                text.strip_prefix(part)
            } else {
                text.strip_suffix(part)
            };
            Value::from(rest.unwrap_or(text))
        }
        "replace" => {
            let [old, new, count] = arguments(args, ["old", "new", "count"], 2)?;
            let (old, new) =
                (as_text(&old)?.unwrap_or_default(), as_text(&new)?.unwrap_or_default());
            Value::from(replace(text, old, new, as_number(&count)?)?)
        }
        "ljust" | "rjust" | "center" | "zfill" => {
            let [width, fill] = arguments(args, ["width", "fillchar"], 1)?;
            Value::from(justify(text, name, as_number(&width)?.unwrap_or(0), as_text(&fill)?)?)
        }
        "expandtabs" => {
            let [size] = arguments(args, ["tabsize"], 0)?;
            Value::from(expand_tabs(text, as_number(&size)?.unwrap_or(8))?)
        }
        "title" | "swapcase" | "casefold" => {
            let () = from_args(args)?;
            Value::from(recased(text, name))
        }
        "istitle" | "isdigit" | "isdecimal" => {
            let () = from_args(args)?;
            Value::from(is_of_kind(text, name))
        }
        "format" => {
            check_format(text)?;
            return Ok(None);
        }
        _ => return Ok(None),
    }))
}

fn empty_separator() -> Error {
    refused_value("an empty separator", "at least one character")
}

fn not_text(found: &Value) -> Error {
    refused_value(found.kind(), "a string")
}

/// `split` and `rsplit`; without a separator they split at runs of white space.
fn split(
    text: &str,
    sep: Option<&str>,
    limit: Option<usize>,
    from_end: bool,
) -> Result<Value, Error> {
    if sep == Some("") {
        return Err(empty_separator());
    }
    // White space at the far end is stripped only if no limit stops the splitting before.
    let near = |text| if sep.is_none() { strip(text, None, !from_end, from_end) } else { text };
    let mut rest = near(text);
    let mut parts: Vec<Value> = Vec::new();
    while sep.is_some() || !rest.is_empty() {
        let piece = rest;
        let cut = if limit.is_some_and(|limit| parts.len() >= limit) {
            None
        } else {
            match (sep, from_end) {
                (Some(sep), false) => piece.split_once(sep),
                (Some(sep), true) => piece.rsplit_once(sep),
                (None, false) => piece.find(is_space).map(|at| piece.split_at(at)),
                // The white space before the last word is stripped with the rest.
                (None, true) => piece
                    .char_indices()
                    .rfind(|(_, character)| is_space(*character))
                    .map(|(at, space)| piece.split_at(at + space.len_utf8())),
            }
        };
        let Some((before, after)) = cut else {
            parts.push(Value::from(piece));
            break;
        };
        let (part, other) = if from_end { (after, before) } else { (before, after) };
        parts.push(Value::from(part));
        rest = near(other);
    }
    if from_end {
        parts.reverse();
    }
    Ok(Value::from(parts))
}

/// `splitlines`, at all line boundaries that Python recognizes.
fn split_lines(text: &str, keep_ends: bool) -> Value {
    const ENDS: [char; 9] =
        ['\n', '\r', '\x0b', '\x0c', '\x1c', '\x1d', '\x1e', '\u{85}', '\u{2028}'];
    let is_end = |character: char| ENDS.contains(&character) || character == '\u{2029}';
    let (mut lines, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.find(is_end) {
        let (line, tail) = rest.split_at(at);
        let end = if tail.starts_with("\r\n") {
            2
        } else {
            tail.chars().next().map_or(1, char::len_utf8)
        };
        let kept = if keep_ends { at + end } else { line.len() };
        lines.push(Value::from(rest.get(..kept).unwrap_or_default()));
        rest = tail.get(end..).unwrap_or_default();
    }
    if !rest.is_empty() {
        lines.push(Value::from(rest));
    }
    Value::from(lines)
}

/// The methods that search a substring between two positions, counted in characters.
fn search(text: &str, name: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    let [needle, start, end] = arguments(args, ["sub", "start", "end"], 1)?;
    let needle = needle.unwrap_or_default();
    let length = text.chars().count();
    let place = |given: &Option<Value>, default: usize| -> Result<usize, Error> {
        let Some(given) = as_number(given)? else { return Ok(default) };
        let distance = usize::try_from(given.unsigned_abs()).unwrap_or(usize::MAX);
        Ok(if given < 0 { length.saturating_sub(distance) } else { distance })
    };
    let (from, to) = (place(&start, 0)?, place(&end, length)?.min(length));
    let byte = |at: usize| text.char_indices().nth(at).map_or(text.len(), |(byte, _)| byte);
    let part = if from <= to { text.get(byte(from)..byte(to)) } else { None };
    if name == "startswith" || name == "endswith" {
        let found = |needle: &Value| {
            let needle = needle.as_str().ok_or_else(|| not_text(needle))?;
            let fits = |part: &str| {
                if name == "startswith" { part.starts_with(needle) } else { part.ends_with(needle) }
            };
            Ok::<bool, Error>(part.is_some_and(fits))
        };
        if needle.as_str().is_some() {
            return found(&needle).map(|found| Some(Value::from(found)));
        }
        for needle in needle.try_iter()? {
            if found(&needle)? {
                return Ok(Some(Value::from(true)));
            }
        }
        return Ok(Some(Value::from(false)));
    }
    let needle = needle.as_str().ok_or_else(|| not_text(&needle))?;
    if name == "count" {
        return Ok(Some(Value::from(part.map_or(0, |part| part.matches(needle).count()))));
    }
    let found = part.and_then(|part| {
        let at = if name.starts_with('r') { part.rfind(needle) } else { part.find(needle) }?;
        Some(from + part.get(..at)?.chars().count())
    });
    match found {
        Some(at) => Ok(Some(Value::from(at))),
        None if name.ends_with("index") => Err(refused("substring not found")),
        None => Ok(Some(Value::from(-1))),
    }
}

/// `replace`; a negative count replaces all occurrences.
pub(super) fn replace(
    text: &str,
    old: &str,
    new: &str,
    count: Option<i64>,
) -> Result<String, Error> {
    let most = count.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX);
    let found = text.matches(old).count().min(most);
    let growth = new.len().saturating_sub(old.len()).saturating_mul(found);
    if text.len().saturating_add(growth) > MAX_REPLACED_BYTES {
        let found = format!("`replace` that creates more than {MAX_REPLACED_BYTES} bytes");
        return Err(refused_value(found, "at most as many"));
    }
    Ok(text.replacen(old, new, most))
}

/// `ljust`, `rjust`, `center` and `zfill`.
pub(super) fn justify(
    text: &str,
    name: &str,
    width: i64,
    fill: Option<&str>,
) -> Result<String, Error> {
    let width = usize::try_from(width).unwrap_or(0);
    if width > MAX_WIDTH {
        return Err(refused_value(format!("a width of {width}"), format!("at most {MAX_WIDTH}")));
    }
    let fill = fill.unwrap_or(if name == "zfill" { "0" } else { " " });
    if fill.chars().count() != 1 {
        let found = format!("{} fill characters", fill.chars().count());
        return Err(refused_value(found, "one"));
    }
    let length = text.chars().count();
    let missing = width.saturating_sub(length);
    let before = match name {
        "ljust" => 0,
        // CPython's rounding, which depends on the parity of the width.
        "center" => missing / 2 + (missing & width & 1),
        _ => missing,
    };
    let sign =
        if name == "zfill" { text.len() - text.trim_start_matches(['+', '-']).len() } else { 0 };
    let (sign, digits) = text.split_at(sign.min(1));
    Ok(format!("{sign}{}{digits}{}", fill.repeat(before), fill.repeat(missing - before)))
}

fn expand_tabs(text: &str, size: i64) -> Result<String, Error> {
    let size = usize::try_from(size).unwrap_or(0);
    if size > MAX_TAB_SIZE {
        return Err(refused_value(format!("a tab of {size}"), format!("at most {MAX_TAB_SIZE}")));
    }
    let (mut out, mut column) = (String::with_capacity(text.len()), 0);
    for character in text.chars() {
        if character == '\t' {
            let spaces = if size == 0 { 0 } else { size - column % size };
            out.extend(std::iter::repeat_n(' ', spaces));
            column += spaces;
        } else {
            out.push(character);
            column = if matches!(character, '\n' | '\r') { 0 } else { column + 1 };
        }
    }
    Ok(out)
}

fn recased(text: &str, name: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_word = false;
    for character in text.chars() {
        let upper = match name {
            "title" => !in_word,
            "swapcase" => character.is_lowercase(),
            _ => false,
        };
        in_word = character.is_alphabetic();
        match (upper, name, character) {
            (_, "casefold", 'ß' | 'ẞ') => out.push_str("ss"),
            (_, "casefold", 'ς') => out.push('σ'),
            (true, ..) => out.extend(character.to_uppercase()),
            (false, ..) => out.extend(character.to_lowercase()),
        }
    }
    out
}

fn is_of_kind(text: &str, name: &str) -> bool {
    let all = |is: fn(char) -> bool| !text.is_empty() && text.chars().all(is);
    match name {
        "isdecimal" => all(|character| character.is_ascii_digit()),
        // As in Python, superscripts are digits and fractions are not.
        "isdigit" => all(|character| {
            character.is_ascii_digit()
                || matches!(character, '²' | '³' | '¹' | '⁰' | '⁴'..='⁹' | '₀'..='₉')
        }),
        _ => text.chars().any(char::is_alphabetic) && recased(text, "title") == text,
    }
}

fn list_method(list: &Value, name: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    match name {
        "index" => {
            let (needle,): (&Value,) = from_args(args)?;
            let at = list.try_iter()?.position(|item| item == *needle);
            at.map(|at| Some(Value::from(at)))
                .ok_or_else(|| refused("the value is not in the list"))
        }
        "copy" => from_args::<()>(args).map(|()| Some(list.clone())),
        _ => Ok(None),
    }
}

/// `dict.fromkeys`.
fn from_keys(args: &[Value]) -> Result<Value, Error> {
    let (keys, value): (&Value, Option<Value>) = from_args(args)?;
    let value = value.unwrap_or_else(|| Value::from(()));
    Ok(Value::from_pairs(keys.try_iter()?.map(|key| (key, value.clone()))))
}
