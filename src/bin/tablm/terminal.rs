//! Input and output of the command line: reads regular files only, and escapes control characters
//! in text for a terminal.

use std::borrow::Cow;
use std::fmt::{Arguments, Write as _};
use std::io::{IsTerminal, Read, Write};
use std::path::Path;

use serde_json::Value;
use tablm::error::{Code, Error, Result, escaped, is_control_or_bidi, mismatch};
use tablm::weights::disk::open_file;

/// Maximum bytes of a file of messages, tools or text.
const MAX_INPUT_BYTES: u64 = 64 << 20;

/// Writes a line to stdout. Exits quietly if the reader has closed it, as `head` does.
pub(crate) fn say(line: Arguments<'_>) {
    if writeln!(std::io::stdout(), "{line}").is_err() {
        std::process::exit(1);
    }
}

/// Writes a line of JSON to stdout, in which control characters are escaped.
pub(crate) fn say_json(value: &Value) {
    let mut json = String::new();
    for character in value.to_string().chars() {
        // In JSON such characters occur only in strings; all have at most four hexadecimal digits.
        let written = match is_control_or_bidi(character) {
            true => write!(json, "\\u{:04x}", u32::from(character)),
            false => write!(json, "{character}"),
        };
        debug_assert!(written.is_ok(), "a string takes everything");
    }
    say(format_args!("{json}"));
}

/// Writes a piece of an answer to stdout and flushes it.
pub(crate) fn show(piece: &str) {
    let mut stdout = std::io::stdout();
    let piece = for_output(piece, stdout.is_terminal());
    if write!(stdout, "{piece}").and_then(|()| stdout.flush()).is_err() {
        std::process::exit(1);
    }
}

/// Writes a piece of a log to stderr.
pub(crate) fn log(piece: &str) {
    eprint!("{}", for_output(piece, std::io::stderr().is_terminal()));
}

/// Text for stdout or stderr. For a terminal, control characters except line ends and tabs are
/// escaped; a file or another program gets the text unchanged.
pub(crate) fn for_output(text: &str, on_terminal: bool) -> Cow<'_, str> {
    match on_terminal {
        true => escaped(text, |character| {
            is_control_or_bidi(character) && !matches!(character, '\n' | '\t')
        }),
        false => Cow::Borrowed(text),
    }
}

/// Text of a file, or of standard input for `-`.
///
/// # Errors
/// `invalid-request` for a file that cannot be read, is no UTF-8, or is too long.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    let wrong = |message: String| {
        Error::new(Code::InvalidRequest, format!("{}: {message}", path.display()))
    };
    let file: Box<dyn Read> = match path.to_str() {
        Some("-") => Box::new(std::io::stdin()),
        _ => Box::new(open_file(path)?),
    };
    let mut text = String::new();
    let read = file.take(MAX_INPUT_BYTES + 1).read_to_string(&mut text);
    read.map_err(|error| wrong(error.to_string()))?;
    if text.len() as u64 > MAX_INPUT_BYTES {
        let found = format!("more than {MAX_INPUT_BYTES} bytes");
        return Err(wrong(mismatch(found, "at most as many")));
    }
    Ok(text)
}

/// JSON of a file, or of standard input for `-`.
///
/// # Errors
/// Errors of [`read_text`]; `malformed` for text that is no JSON.
pub(crate) fn read_json(path: &Path) -> Result<Value> {
    serde_json::from_str(&read_text(path)?)
        .map_err(|error| Error::malformed(&path.display().to_string(), "JSON", error))
}

#[cfg(test)]
mod tests {
    use super::for_output;

    #[test]
    fn terminal_output_escapes_control_characters_except_line_ends_and_tabs() {
        let text = "a\tb\n\u{1b}]0;title\u{7} \r\u{9b}31m \u{202e}\u{2066} é 東";
        assert_eq!(for_output(text, false), text);
        let expected = "a\tb\n\\u{1b}]0;title\\u{7} \\r\\u{9b}31m \\u{202e}\\u{2066} é 東";
        assert_eq!(for_output(text, true), expected);
    }
}
