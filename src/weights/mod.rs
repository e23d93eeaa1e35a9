//! Model files: bytes in, named tensors out.
//!
//! Reading order: [`source`] (where bytes come from), `gguf` and `safetensors` (the two
//! containers), and here [`Checkpoint`], which is what the rest of the crate sees.

pub mod source;
