//! Paths of the model files that `make test` downloads and derives.

use std::path::PathBuf;

use super::files::{env_variable, exists};

/// The cache folder: `TABLM_CACHE`, or its default.
pub fn folder() -> PathBuf {
    let home = || PathBuf::from(env_variable("HOME").unwrap_or_default()).join(".cache/tablm");
    env_variable("TABLM_CACHE").map_or_else(home, PathBuf::from)
}

/// SmolLM2-135M-Instruct in Q4_1, as downloaded.
pub fn smollm2() -> PathBuf {
    present(folder().join("models/SmolLM2-135M-Instruct.Q4_1.gguf"))
}

/// Gemma 3 270M, the base model, in Q4_K_M, as downloaded.
pub fn gemma3() -> PathBuf {
    present(folder().join("models/gemma-3-270m-q4_k_m.gguf"))
}

/// A file or folder that tests/data/make_models.py makes, e.g. `SmolLM2-135M-Instruct-BF16`,
/// `SmolLM2-135M-Instruct.Q8_0.gguf`, `tiny-Q4_K-256.gguf` or `tiny-Q4_K-256.F32.gguf`.
pub fn derived(name: &str) -> PathBuf {
    present(folder().join("derived/1").join(name))
}

/// A folder or file that tests/data/tiny/make_tiny.py makes, e.g. `llama-tied` or
/// `llama-tied.gguf`.
pub fn tiny(name: &str) -> PathBuf {
    present(folder().join("derived/tiny").join(name))
}

/// A folder or file that tests/data/tiny/make_embeddings.py makes, e.g. `bert-mean` or
/// `bert-mean.gguf`.
pub fn embeddings(name: &str) -> PathBuf {
    present(folder().join("derived/embeddings").join(name))
}

/// The folder of all-MiniLM-L6-v2, as downloaded.
pub fn minilm() -> PathBuf {
    present(folder().join("models/all-MiniLM-L6-v2"))
}

/// A file that tests/data/text/make_vocabularies.py makes: `tekken.gguf`, `tekken.json`,
/// `llama3.gguf`.
pub fn vocabulary(name: &str) -> PathBuf {
    present(folder().join("derived/vocabularies").join(name))
}

/// A file of llama.cpp's collection of vocabularies, e.g. `ggml-vocab-qwen35.gguf.out`.
pub fn llama_cpp(name: &str) -> PathBuf {
    present(folder().join("llama.cpp/0.3.36").join(name))
}

/// A file that tests/data/make_full_size.py makes, e.g. `nemotron4b.header.gguf`.
pub fn full_size(name: &str) -> PathBuf {
    present(folder().join("full-size").join(name))
}

fn present(path: PathBuf) -> PathBuf {
    assert!(
        exists(&path),
        "{} is missing: run `make test` once, which downloads and derives models",
        path.display()
    );
    path
}
