//! Model files: headers, metadata and named tensors.
//!
//! - [`source`]: reading files from disk, browser storage or memory.
//! - [`Checkpoint`]: an opened model, as the rest of the crate sees it.
//! - `gguf`: header, [`metadata`], split files.
//! - `safetensors`: header, [`folder`] with configuration, shard index and chat templates, schemes
//!   of quantized weights.
//! - [`quantize`]: conversion to another weight format while reading.
//!
//! Model files are untrusted: counts and lengths are checked against the file's size before memory
//! is allocated for them.

mod checkpoint;
mod detect;
#[cfg(not(target_arch = "wasm32"))]
pub mod disk;
mod fused_tensors;
mod gguf;
mod integers;
pub(crate) mod json;
mod open;
pub mod quantize;
mod safetensors;
pub mod source;
mod tensor;
mod unused_tensors;

pub use checkpoint::{Checkpoint, Container};
pub use gguf::metadata::{self, Metadata};
pub use integers::Integers;
pub use safetensors::folder::{self, Folder, SentenceModule, SentenceModules};
pub use tensor::{SeparateScales, Tensor};
