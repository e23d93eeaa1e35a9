//! Input and output of the command line: regular files, and text that cannot steer a terminal.

use std::borrow::Cow;
use std::fmt::{Arguments, Write as _};
use std::io::{IsTerminal, Read, Write};
use std::path::Path;

use serde_json::Value;
use tablm::error::{Code, Error, Result, is_steering};
use tablm::weights::disk::open_file;

/// Bytes of a file of messages, tools or text, at most.
const MAX_INPUT_BYTES: u64 = 64 << 20;

/// Writes a line to stdout. Exits quietly if the reader has closed it, as `head` does.
pub(crate) fn say(line: Arguments<'_>) {
    if writeln!(std::io::stdout(), "{line}").is_err() {
        std::process::exit(1);
    }
}

/// Writes a line of JSON to stdout; characters that steer a terminal are escaped.
pub(crate) fn say_json(value: &Value) {
    let mut json = String::new();
    for letter in value.to_string().chars() {
        // They occur in strings only, and all have at most four digits.
        let written = match is_steering(letter) {
            true => write!(json, "\\u{:04x}", u32::from(letter)),
            false => write!(json, "{letter}"),
        };
        debug_assert!(written.is_ok(), "a string takes everything");
    }
    say(format_args!("{json}"));
}

/// Writes a piece of an answer to stdout and flushes it.
pub(crate) fn show(piece: &str) {
    let mut stdout = std::io::stdout();
    let piece = shown(piece, stdout.is_terminal());
    if write!(stdout, "{piece}").and_then(|()| stdout.flush()).is_err() {
        std::process::exit(1);
    }
}

/// Writes a piece of a log to stderr.
pub(crate) fn log(piece: &str) {
    eprint!("{}", shown(piece, std::io::stderr().is_terminal()));
}

/// Text for a terminal: characters that steer it are escaped, except for line ends and tabs. A file
/// or another program gets the text unchanged.
pub(crate) fn shown(text: &str, on_terminal: bool) -> Cow<'_, str> {
    let steers = |letter: char| is_steering(letter) && !matches!(letter, '\n' | '\t');
    if !on_terminal || !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::new();
    for letter in text.chars() {
        match steers(letter) {
            true => shown.extend(letter.escape_default()),
            false => shown.push(letter),
        }
    }
    Cow::Owned(shown)
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
        return Err(wrong(format!(
            "found more than {MAX_INPUT_BYTES} bytes, expected at most as many"
        )));
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
    use super::shown;

    #[test]
    fn a_terminal_gets_no_controls_but_line_ends_and_tabs() {
        let text = "a\tb\n\u{1b}]0;title\u{7} \r\u{9b}31m \u{202e}\u{2066} é 東";
        assert_eq!(shown(text, false), text);
        let escaped = "a\tb\n\\u{1b}]0;title\\u{7} \\r\\u{9b}31m \\u{202e}\\u{2066} é 東";
        assert_eq!(shown(text, true), escaped);
    }
}
