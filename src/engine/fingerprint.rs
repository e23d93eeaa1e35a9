//! Fingerprint of a loaded model: state that one model computed means nothing to another.

use std::collections::BTreeMap;

use xxhash_rust::xxh64::{Xxh64, xxh64};

use super::planning::PlannedModel;
use crate::weights::Container;

/// First bytes of a tensor that are hashed: other weights differ in them.
const TENSOR_BYTES: usize = 4096;

/// Hashes of the beginnings of all tensors, by name.
#[derive(Debug, Default)]
pub(super) struct Fingerprint(BTreeMap<String, u64>);

impl Fingerprint {
    /// Adds a tensor, given its bytes in memory or the first of them.
    pub(super) fn add(&mut self, name: &str, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(TENSOR_BYTES)];
        self.0.insert(name.to_owned(), xxh64(bytes, 0));
    }

    /// Fingerprint of the model with these weights: it depends on them, on the format in which they
    /// are in memory, and on the parameters of the architecture.
    pub(super) fn of(&self, planned: &PlannedModel<'_>) -> String {
        let mut hash = Xxh64::new(0);
        hash.update(planned.architecture.as_bytes());
        hash.update(format!("{:?}", planned.options.quantize).as_bytes());
        match &planned.checkpoint.container {
            Container::Gguf(metadata) => {
                let names = ["general.", "tokenizer."];
                let keys =
                    metadata.keys().filter(|key| !names.iter().any(|it| key.starts_with(it)));
                for key in keys {
                    hash.update(format!("{key} {:?}", metadata.get(key)).as_bytes());
                }
            }
            Container::Safetensors(folder) => hash.update(folder.config.to_string().as_bytes()),
        }
        for (name, tensor) in &self.0 {
            hash.update(name.as_bytes());
            hash.update(&tensor.to_le_bytes());
        }
        format!("{:016x}", hash.digest())
    }
}
