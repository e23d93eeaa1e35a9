//! The one error type: what went wrong, by what the caller can do about it.
//!
//! The codes are the same strings in Rust, on the command line and in JavaScript.
//! Messages start lower-case, end without a full stop, and name the file, the field,
//! the value found and the value that would be right. Whatever they quote from a file or a request,
//! they are one line of bounded length that cannot steer a terminal.

use std::borrow::Cow;
use std::fmt;

/// Bounds a message: a file may have names of any length.
const MAX_MESSAGE_CHARS: usize = 8 << 10;

/// What the caller can do about an error. The kebab-case [`Code::as_str`] is stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// No usable GPU adapter: use the CPU executor or another browser.
    NoGpu,
    /// The model needs more than this adapter offers: choose a smaller model or context.
    GpuTooSmall,
    /// The GPU device was lost while it was in use: load again.
    DeviceLost,
    /// The machine or the tab has no more memory.
    OutOfMemory,
    /// The file's architecture is not one of ours.
    UnknownArchitecture,
    /// The architecture is ours, a format or option that the file uses is not.
    UnsupportedFormat,
    /// Tensors the architecture needs are absent or have another shape.
    MissingTensors,
    /// The file is not what it says it is.
    Malformed,
    /// Reading from network or disk failed.
    Network,
    /// Bytes arrived, but not the right ones.
    Integrity,
    /// The origin's storage has no room.
    StorageFull,
    /// The prompt does not fit into the context.
    ContextFull,
    /// The caller asked for something that makes no sense.
    InvalidRequest,
    /// The grammar or JSON schema cannot be used.
    InvalidGrammar,
    /// The caller's abort signal fired.
    Aborted,
    /// The model was disposed of.
    Disposed,
    /// A defect of this engine.
    Internal,
}

impl Code {
    /// Every code, in the order of the documentation.
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

    /// The stable name.
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

    /// The code of that name, for errors that come back from JavaScript.
    pub fn from_name(name: &str) -> Option<Code> {
        Code::ALL.into_iter().find(|code| code.as_str() == name)
    }
}

/// An error: a stable [`Code`] and a message for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    code: Code,
    message: String,
}

/// Whether a character steers a terminal or turns the direction of the text around it.
pub fn is_steering(letter: char) -> bool {
    let turns = matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    letter.is_control() || turns
}

/// A text from a file or a request, for people: in one line, with escapes such as `\u{1b}` for
/// [steering](is_steering) characters.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_steering) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match is_steering(letter) {
            true => shown.extend(letter.escape_default()),
            false => shown.push(letter),
        }
    }
    Cow::Owned(shown)
}

/// A text, or its beginning where it has more characters.
pub(crate) fn cut(mut text: String, chars_max: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(chars_max) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// The result of everything that can fail here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error with that code and message, which is cut where it is too long and [`visible`].
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        // Escapes are longer than what they stand for.
        let message = visible(&cut(message.into(), MAX_MESSAGE_CHARS)).into_owned();
        Self { code, message: cut(message, MAX_MESSAGE_CHARS) }
    }

    /// `malformed`, naming file and field.
    pub fn malformed(file: &str, field: &str, message: impl fmt::Display) -> Self {
        Self::new(Code::Malformed, format!("{file}: {field}: {message}"))
    }

    /// `invalid-request`, naming the field.
    pub fn invalid_request(field: &str, message: impl fmt::Display) -> Self {
        Self::new(Code::InvalidRequest, format!("{field}: {message}"))
    }

    /// `internal`: a defect of this engine.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, message)
    }

    /// The stable code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The message without the code.
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
