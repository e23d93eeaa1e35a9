//! Writer of safetensors folders in memory, valid and invalid.

use std::rc::Rc;

use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use tablm::weights::source::{ByteSource, MemorySource};

/// A folder: names and contents of its files.
#[derive(Debug, Clone)]
pub struct Folder(pub Vec<(String, Vec<u8>)>);

/// A file of F32 tensors, given as name, shape and values.
pub fn f32_file(tensors: &[(&str, &[usize], Vec<f32>)]) -> Vec<u8> {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, _, values)| super::gguf::f32_bytes(values.iter().copied()))
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        ((*name).to_owned(), TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap())
    });
    safetensors::serialize(views, None).unwrap()
}

/// A file of tensors, given as name, type, shape and bytes.
pub fn file(tensors: &[(&str, &str, Vec<usize>, Vec<u8>)]) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, dtype, shape, bytes) in tensors {
        let offsets = [data.len(), data.len() + bytes.len()];
        header.insert(
            (*name).into(),
            json!({"dtype": dtype, "shape": shape, "data_offsets": offsets}),
        );
        data.extend(bytes);
    }
    raw_file(&Value::Object(header).to_string(), &data)
}

/// A file with any header text and any data.
pub fn raw_file(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// A file with one tensor `w` described by `entry`, and `data_bytes` zeros.
pub fn one_tensor(entry: &Value, data_bytes: usize) -> Vec<u8> {
    raw_file(&json!({ "w": entry }).to_string(), &vec![0; data_bytes])
}

impl Folder {
    /// A folder with one file of weights and a minimal configuration and tokenizer.
    pub fn new(weights: Vec<u8>) -> Folder {
        Folder(Vec::new())
            .with("config.json", br#"{"model_type": "llama", "_name_or_path": "someone/tiny"}"#)
            .with("tokenizer.json", b"{}")
            .with("model.safetensors", &weights)
    }

    /// Adds or replaces a file.
    pub fn with(mut self, name: &str, bytes: &[u8]) -> Folder {
        self = self.without(name);
        self.0.push((name.to_owned(), bytes.to_vec()));
        self
    }

    /// Removes a file.
    pub fn without(mut self, name: &str) -> Folder {
        self.0.retain(|(other, _)| other != name);
        self
    }

    /// The files as sources.
    pub fn sources(&self) -> Vec<Rc<dyn ByteSource>> {
        let source = |(name, bytes): &(String, Vec<u8>)| {
            Rc::new(MemorySource::new(name, bytes.clone())) as Rc<_>
        };
        self.0.iter().map(source).collect()
    }
}
