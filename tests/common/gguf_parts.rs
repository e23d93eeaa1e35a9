//! A GGUF file in parts, for tests that replace one value.

use super::gguf::{kind, string};

/// A GGUF file, split into metadata, tensor descriptions and tensor data.
pub(crate) struct Parts {
    /// Keys, and their values as bytes that begin with the type number.
    pub(crate) keys: Vec<(String, Vec<u8>)>,
    tensor_count: u64,
    tensors: Vec<u8>,
    data: Vec<u8>,
}

/// Reads a little-endian integer of `length` bytes.
pub(crate) fn integer(bytes: &[u8], at: usize, length: usize) -> usize {
    bytes[at..at + length].iter().rev().fold(0, |value, byte| value << 8 | usize::from(*byte))
}

/// End of the value at `at`, without its type number.
fn value_end(bytes: &[u8], type_number: usize, at: usize) -> usize {
    match type_number as u32 {
        kind::U8 | kind::I8 | kind::BOOL => at + 1,
        kind::U16 | kind::I16 => at + 2,
        kind::U32 | kind::I32 | kind::F32 => at + 4,
        kind::U64 | kind::I64 | kind::F64 => at + 8,
        kind::STRING => at + 8 + integer(bytes, at, 8),
        kind::ARRAY => {
            let (element, count) = (integer(bytes, at, 4), integer(bytes, at + 4, 8));
            (0..count).fold(at + 12, |at, _| value_end(bytes, element, at))
        }
        other => panic!("unknown type {other}"),
    }
}

impl Parts {
    /// Splits a file.
    pub(crate) fn split(bytes: &[u8]) -> Self {
        let (tensor_count, key_count) = (integer(bytes, 8, 8), integer(bytes, 16, 8));
        let (mut at, mut keys) = (24, Vec::new());
        for _ in 0..key_count {
            let start = at + 8;
            at = start + integer(bytes, at, 8);
            let (key, value) = (String::from_utf8(bytes[start..at].to_vec()).unwrap(), at);
            at = value_end(bytes, integer(bytes, at, 4), at + 4);
            keys.push((key, bytes[value..at].to_vec()));
        }
        let tensors = at;
        for _ in 0..tensor_count {
            at += 8 + integer(bytes, at, 8);
            at += 4 + 8 * integer(bytes, at, 4) + 4 + 8;
        }
        let data = bytes[at.next_multiple_of(32)..].to_vec();
        Self { keys, tensor_count: tensor_count as u64, tensors: bytes[tensors..at].to_vec(), data }
    }

    /// Bytes of the file with another value for the key at `index`.
    pub(crate) fn with(&self, index: usize, value: &[u8]) -> Vec<u8> {
        let mut file = b"GGUF\x03\0\0\0".to_vec();
        file.extend(self.tensor_count.to_le_bytes());
        file.extend((self.keys.len() as u64).to_le_bytes());
        for (i, (key, original)) in self.keys.iter().enumerate() {
            file.extend(string(key.as_bytes()));
            file.extend(if i == index { value } else { original });
        }
        file.extend(&self.tensors);
        file.resize(file.len().next_multiple_of(32), 0);
        file.extend(&self.data);
        file
    }
}
