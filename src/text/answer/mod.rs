//! Answers of a model while they are generated: reasoning, text, tool calls and stop strings.

mod parser;
mod scanner;
mod stop_strings;
mod style;
mod tool_call_format;

pub use parser::{AnswerParser, Delta, FunctionCall, ToolCall};
pub use stop_strings::{MAX_STOP_STRING_CHARS, MAX_STOP_STRINGS, StopPiece, StopStrings};
pub use style::{AnswerStyle, ThinkingSwitch};
pub use tool_call_format::ToolCallFormat;
