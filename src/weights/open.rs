//! Opening a model, given its files.

use std::rc::Rc;

use super::checkpoint::Checkpoint;
use super::gguf::split_files;
use super::safetensors::files;
use super::safetensors::open_folder::open_folder;
use super::source::ByteSource;
use crate::error::{Error, Result};

impl Checkpoint {
    /// Reads the headers of a GGUF file, of the parts of a split GGUF file, or of the files of a
    /// safetensors folder. Weights are not read: a file that is truncated after its header opens,
    /// so that it can be inspected (see [`Checkpoint::check_complete`]).
    ///
    /// Errors: `malformed`, `unsupported-format`, `missing-tensors`, `invalid-request` (no files,
    /// or the wrong ones), and errors of the sources.
    pub async fn open(files: Vec<Rc<dyn ByteSource>>) -> Result<Checkpoint> {
        let is_folder = |file: &Rc<dyn ByteSource>| {
            file.name() == files::CONFIG || files::is_weight_file(file.name())
        };
        let is_gguf =
            |file: &Rc<dyn ByteSource>| file.name().to_ascii_lowercase().ends_with(".gguf");
        if files.len() > 1 && files.iter().any(is_folder) {
            return open_folder(files).await;
        }
        let candidates: Vec<usize> = if files.len() == 1 {
            vec![0]
        } else {
            (0..files.len()).filter(|&i| is_gguf(&files[i])).collect()
        };
        if candidates.is_empty() {
            let names: Vec<&str> = files.iter().take(8).map(|file| file.name()).collect();
            let found = format!("{} files ({})", files.len(), names.join(", "));
            let expected = "one .gguf file, or config.json with *.safetensors and tokenizer.json";
            return Err(Error::invalid_value("model", found, expected));
        }
        split_files::open(files, candidates).await
    }
}
