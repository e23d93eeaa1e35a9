//! Conversion of text to token ids and back, of chat messages to prompts, and of answers to parts.
//!
//! - [`tokenizer`]: [`Tokenizer`] and [`StreamingDecoder`].
//! - [`template`]: [`ChatTemplate`] renders messages to a prompt.
//! - [`tools`]: tools of a request.
//! - [`answer`]: [`AnswerParser`] splits an answer into reasoning, text and tool calls;
//!   [`StopStrings`] ends it at a stop string.

pub mod answer;
pub mod template;
pub mod tokenizer;
pub mod tools;

pub use answer::{
    AnswerParser, AnswerStyle, Delta, FunctionCall, GeneratedLogprob, ReasoningFormat, StopPiece,
    StopStrings, ThinkingSwitch, TokenLogprob, ToolCall, ToolCallFormat,
};
pub use template::{
    ChatTemplate, CivilTime, RenderOptions, flatten_text_parts, keeps_null_content, message_forms,
    tools_variable,
};
pub use tokenizer::{GgufVocabulary, StreamingDecoder, Tokenizer};
pub use tools::{Tools, parse_call_arguments};
