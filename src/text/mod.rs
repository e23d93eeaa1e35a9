//! Text to token ids and back, prompts from messages, and the choice of the next token.
//!
//! Reading order: [`tokenizer`] (what the rest of the crate calls), `tokenizer_gguf` and
//! `tokenizer_json` (the two files it is built from), `vocabulary`, `added`, `split` and `bpe`
//! (its four parts), [`decoder`] and [`stop`] (ids to text while they arrive). Nothing here knows an executor.

mod added;
mod bpe;
pub mod decoder;
mod split;
pub mod stop;
pub mod tokenizer;
mod tokenizer_gguf;
mod tokenizer_json;
mod vocabulary;

pub use decoder::Decoder;
pub use stop::{StopPiece, StopStrings};
pub use tokenizer::Tokenizer;
pub use tokenizer_gguf::GgufVocabulary;
