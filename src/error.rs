//! The crate's only error type: a stable code and a message.
//!
//! The codes are the same strings in Rust, on the command line and in JavaScript.
//! Messages start with a lower-case letter, have no final period, and name the file, the field, the
//! value found and the value expected: `"{file}: {field}: found X, expected Y"`
//! ([`Error::malformed_value`]). Text quoted from a file or a request is untrusted: a message is a
//! single line of bounded length without control characters.

use std::borrow::Cow;
use std::fmt;

/// Maximum characters of a message: names in a file may have any length.
const MAX_MESSAGE_CHARS: usize = 8 << 10;
/// Maximum characters that a message quotes of a single value.
const MAX_QUOTED_CHARS: usize = 120;

/// Error codes, by what the caller can do about the error. [`Code::as_str`] is stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// No usable GPU adapter. Use the CPU executor or another browser.
    NoGpu,
    /// The model exceeds the limits of this adapter. Choose a smaller model or context.
    GpuTooSmall,
    /// The GPU device was lost while in use. Load the model again.
    DeviceLost,
    /// The machine or the browser tab is out of memory.
    OutOfMemory,
    /// The model architecture is not implemented.
    UnknownArchitecture,
    /// The architecture is implemented, but a format or option that the file uses is not.
    UnsupportedFormat,
    /// Tensors that the architecture requires are absent or have the wrong shape.
    MissingTensors,
    /// The file violates its format or contradicts itself.
    Malformed,
    /// A read from network or disk failed.
    Network,
    /// The downloaded bytes do not match the expected hash or length.
    Integrity,
    /// The origin's storage quota is exhausted.
    StorageFull,
    /// The prompt does not fit into the context.
    ContextFull,
    /// The request contains an invalid value.
    InvalidRequest,
    /// The grammar or JSON schema is invalid or not supported.
    InvalidGrammar,
    /// The caller's abort signal fired.
    Aborted,
    /// The model has been disposed of.
    Disposed,
    /// A bug in this engine.
    Internal,
}

impl Code {
    /// All codes, in the order of the documentation.
    pub const ALL: [Code; 17] = [
        Code::NoGpu,
        Code::GpuTooSmall,
        Code::DeviceLost,
        Code::OutOfMemory,
        Code::UnknownArchitecture,
        Code::UnsupportedFormat,
        Code::MissingTensors,
        Code::Malformed,
        Code::Network,
        Code::Integrity,
        Code::StorageFull,
        Code::ContextFull,
        Code::InvalidRequest,
        Code::InvalidGrammar,
        Code::Aborted,
        Code::Disposed,
        Code::Internal,
    ];

    /// Stable kebab-case name, such as `no-gpu`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Code::NoGpu => "no-gpu",
            Code::GpuTooSmall => "gpu-too-small",
            Code::DeviceLost => "device-lost",
            Code::OutOfMemory => "out-of-memory",
            Code::UnknownArchitecture => "unknown-architecture",
            Code::UnsupportedFormat => "unsupported-format",
            Code::MissingTensors => "missing-tensors",
            Code::Malformed => "malformed",
            Code::Network => "network",
            Code::Integrity => "integrity",
            Code::StorageFull => "storage-full",
            Code::ContextFull => "context-full",
            Code::InvalidRequest => "invalid-request",
            Code::InvalidGrammar => "invalid-grammar",
            Code::Aborted => "aborted",
            Code::Disposed => "disposed",
            Code::Internal => "internal",
        }
    }

    /// Code with the given name, for errors that come back from JavaScript.
    pub fn from_name(name: &str) -> Option<Code> {
        Code::ALL.into_iter().find(|code| code.as_str() == name)
    }
}

/// An error with a stable [`Code`] and a human-readable message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    code: Code,
    message: String,
}

/// True for control characters, which terminals obey, and for characters that change the direction
/// of the surrounding text.
pub fn is_control_or_bidi(character: char) -> bool {
    let is_bidi = matches!(
        character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    character.is_control() || is_bidi
}

/// Printable form of untrusted text: a single line in which control characters
/// ([`is_control_or_bidi`]) are replaced by escapes such as `\u{1b}`.
pub fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, is_control_or_bidi)
}

/// Replaces characters by escapes such as `\u{1b}`.
pub fn escaped(text: &str, is_unsafe: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match is_unsafe(character) {
            true => shown.extend(character.escape_default()),
            false => shown.push(character),
        }
    }
    Cow::Owned(shown)
}

/// Truncates `text` to `max_chars` characters, followed by `…` if anything was removed.
pub(crate) fn cut(mut text: String, max_chars: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(max_chars) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Quotes untrusted text for a message: escaped, in double quotes, truncated to 120 characters.
pub fn quoted(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED_CHARS) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// Text form of an untrusted value, such as JSON, truncated to 120 characters for a message.
pub fn excerpt(value: impl fmt::Display) -> String {
    cut(value.to_string(), MAX_QUOTED_CHARS)
}

/// Common wording of a value that is not as required: `"found X, expected Y"`.
pub fn mismatch(found: impl fmt::Display, expected: impl fmt::Display) -> String {
    format!("found {found}, expected {expected}")
}

/// Result type of all fallible functions in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Creates an error. The message is truncated if it is too long, and made [`visible`].
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        // Truncated twice: escapes are longer than the characters they replace.
        let message = visible(&cut(message.into(), MAX_MESSAGE_CHARS)).into_owned();
        Self { code, message: cut(message, MAX_MESSAGE_CHARS) }
    }

    /// `malformed`: `"{file}: {field}: {message}"`.
    pub fn malformed(file: &str, field: &str, message: impl fmt::Display) -> Self {
        Self::new(Code::Malformed, format!("{file}: {field}: {message}"))
    }

    /// `malformed`: `"{file}: {field}: found {found}, expected {expected}"`. Untrusted text in
    /// `found` goes through [`quoted`] or [`excerpt`].
    pub fn malformed_value(
        file: &str,
        field: &str,
        found: impl fmt::Display,
        expected: impl fmt::Display,
    ) -> Self {
        Self::malformed(file, field, mismatch(found, expected))
    }

    /// `unsupported-format`: `"{file}: {field}: {message}"`.
    pub fn unsupported(file: &str, field: &str, message: impl fmt::Display) -> Self {
        Self::new(Code::UnsupportedFormat, format!("{file}: {field}: {message}"))
    }

    /// `unsupported-format`: `"{file}: {field}: found {found}, expected {expected}"`.
    pub fn unsupported_value(
        file: &str,
        field: &str,
        found: impl fmt::Display,
        expected: impl fmt::Display,
    ) -> Self {
        Self::unsupported(file, field, mismatch(found, expected))
    }

    /// `invalid-request`: `"{field}: found {found}, expected {expected}"`.
    pub fn invalid_value(
        field: &str,
        found: impl fmt::Display,
        expected: impl fmt::Display,
    ) -> Self {
        Self::invalid_request(field, mismatch(found, expected))
    }

    /// `invalid-request`: `"{field}: {message}"`.
    pub fn invalid_request(field: &str, message: impl fmt::Display) -> Self {
        Self::new(Code::InvalidRequest, format!("{field}: {message}"))
    }

    /// `internal`: a bug in this engine.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, message)
    }

    /// Stable error code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Message without the code.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)
    }
}

impl std::error::Error for Error {}
