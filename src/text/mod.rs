//! Text to token ids and back, prompts from messages, and the choice of the next token.
//!
//! Reading order: [`tokenizer`] (what the rest of the crate calls), `tokenizer_gguf` and
//! `tokenizer_json` (the two files it is built from), `vocabulary`, `added`, `split` with `cuts`, and `bpe`
//! (its four parts), `turns` (tokens that end one), [`decoder`] and [`stop`] (ids to text while they arrive),
//! [`chat`] with `template_compile`, `template_guard`, `template_operators` and `template_builtins`, and [`tools`]
//! (messages to a prompt), [`answer`] (text to reasoning, text and calls, which `calls`
//! finds), [`sampler`] (logits to a token). Nothing here knows an executor.

mod added;
pub mod answer;
mod bounded;
mod bpe;
mod calls;
pub mod chat;
mod chat_filters;
mod chat_functions;
mod chat_methods;
mod chat_operators;
mod chat_reads;
mod cuts;
pub mod decoder;
mod decoding;
pub mod messages;
pub mod sampler;
mod split;
mod stated;
pub mod stop;
mod template_builtins;
mod template_compile;
mod template_guard;
mod template_operators;
pub mod tokenizer;
mod tokenizer_gguf;
mod tokenizer_json;
pub mod tools;
mod turns;
mod vocabulary;

pub use answer::{AnswerParser, AnswerStyle, Delta, FunctionCall, ThinkingSwitch, ToolCall};
pub use calls::CallStyle;
pub use chat::{ChatTemplate, CivilTime, RenderOptions, flatten_text_parts};
pub use chat_reads::{keeps_null_content, tools_variable};
pub use decoder::Decoder;
pub use messages::message_forms;
pub use sampler::{Sampled, Sampler, SamplerOptions};
pub use stop::{StopPiece, StopStrings};
pub use tokenizer::Tokenizer;
pub use tokenizer_gguf::GgufVocabulary;
pub use tools::{Tools, read_call_arguments};
