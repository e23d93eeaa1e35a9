//! Answers of a model while they are generated: reasoning, text, tool calls and stop strings.

mod delta;
mod elements;
mod gemma4_calls;
mod harmony;
mod harmony_marks;
mod json_calls;
mod parser;
mod python_calls;
mod scan;
mod scanner;
mod stop_strings;
mod style;
mod tool_call_format;

pub use delta::{Delta, FunctionCall, GeneratedLogprob, TokenLogprob, ToolCall};
pub use parser::AnswerParser;
pub use stop_strings::{MAX_STOP_STRING_CHARS, MAX_STOP_STRINGS, StopPiece, StopStrings};
pub use style::{AnswerStyle, ReasoningFormat, ThinkingSwitch};
pub use tool_call_format::ToolCallFormat;
