//! What goes in and what comes out: files that are regular, and text that cannot steer a terminal.

use std::borrow::Cow;
use std::fmt::{Arguments, Write as _};
use std::io::{IsTerminal, Read, Write};
use std::path::Path;

use serde_json::Value;
use tablm::error::{Code, Error, Result, is_steering};
use tablm::weights::disk::open_file;

/// Most bytes of a file of messages, tools or text.
const MAX_INPUT_BYTES: u64 = 64 << 20;

/// Writes a line of output. Who reads it may have gone, as `head` does: that is no panic.
pub(crate) fn say(line: Arguments<'_>) {
    if writeln!(std::io::stdout(), "{line}").is_err() {
        std::process::exit(1);
    }
}

/// Writes a line of JSON, in ASCII where characters steer a terminal.
pub(crate) fn say_json(value: &Value) {
    let mut json = String::new();
    for letter in value.to_string().chars() {
        // Only in strings, and none is beyond four digits.
        let written = match is_steering(letter) {
            true => write!(json, "\\u{:04x}", u32::from(letter)),
            false => write!(json, "{letter}"),
        };
        debug_assert!(written.is_ok(), "a string takes everything");
    }
    say(format_args!("{json}"));
}

/// Writes a piece of an answer, at once.
pub(crate) fn show(piece: &str) {
    let mut stdout = std::io::stdout();
    let piece = shown(piece, stdout.is_terminal());
    if write!(stdout, "{piece}").and_then(|()| stdout.flush()).is_err() {
        std::process::exit(1);
    }
}

/// Writes a piece of a log.
pub(crate) fn log(piece: &str) {
    eprint!("{}", shown(piece, std::io::stderr().is_terminal()));
}

/// Text of any lines as a terminal may get it: what steers it but for line ends and tabs is escaped. A file or
/// another program gets what is there.
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

/// The text of a file, or for `-` of standard input.
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
            "found more than {MAX_INPUT_BYTES} bytes, expected at most so many"
        )));
    }
    Ok(text)
}

/// The JSON of a file, or for `-` of standard input.
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
