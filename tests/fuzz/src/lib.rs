//! Code shared by the fuzz targets.

/// Writers of model files, shared with the tests.
#[path = "../../common"]
pub mod writers {
    pub mod gguf;
    pub mod nemotron_h;
    pub mod random;
    pub mod safetensors;
}

pub mod bounds;
pub mod load;
pub mod tiny_folder;
pub mod tiny_gguf;
pub mod tokenizer_parts;

pub use libfuzzer_sys::arbitrary::Unstructured;
pub use tablm::text;

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tablm::weights::source::{ByteSource, MemorySource};
use tablm::weights::{Checkpoint, Tensor};
use tablm::{Code, Error};

/// A file in memory.
pub fn file(name: &str, bytes: &[u8]) -> Rc<dyn ByteSource> {
    Rc::new(MemorySource::new(name, bytes))
}

/// Result of a future that never waits, such as one that reads only from memory.
pub fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a read from memory waits"),
    }
}

/// Reads a tensor and dequantizes it; reading may fail only if the file is not complete, or if
/// packed integers have a group that does not exist.
pub fn dequantize(checkpoint: &Checkpoint, tensor: &Tensor, is_complete: bool) {
    let read = ready(checkpoint.read_rows(tensor, 0, tensor.rows()));
    let stored = match read {
        Ok(stored) => stored,
        Err(error) => {
            let is_index = tensor.integers.is_some() && error.message().contains("found group");
            assert!(!is_complete || is_index, "a complete file contains every tensor: {error}");
            return check(&error);
        }
    };
    assert_eq!(stored.len() as u64, tensor.size_bytes);
    tensor.format.first_non_finite_row(tensor.columns(), &stored).expect("whole rows");
    let mut values = vec![0.0; tensor.weights() as usize];
    tensor.format.dequantize(tensor.columns(), &stored, &mut values).expect("whole rows");
}

/// Chat template of valid models.
pub const TEMPLATE: &str =
    "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}";

/// Checks that an error has a message and a code other than `internal`.
pub fn check(error: &Error) {
    assert!(!error.message().is_empty());
    assert_ne!(error.code(), Code::Internal, "{error}");
}

/// An unusual number: small, next to a power of two, or too large for some type.
pub fn odd_number(input: &mut Unstructured) -> libfuzzer_sys::arbitrary::Result<u64> {
    let small = u64::from(input.arbitrary::<u8>()?);
    Ok(match input.int_in_range(0..=5)? {
        0 | 1 => small,
        2 => 1 << (small % 64),
        3 => (1_u64 << (small % 64)).wrapping_sub(1),
        4 => (1_u64 << (small % 64)).wrapping_add(1),
        _ => input.arbitrary()?,
    })
}

/// A short text: from the input, or from a list of texts that model files contain.
pub fn odd_text(input: &mut Unstructured) -> libfuzzer_sys::arbitrary::Result<String> {
    const TEXTS: [&str; 16] = [
        "",
        "a",
        "ab",
        " ",
        "Ġ",
        "▁",
        "<s>",
        "</s>",
        "<|im_end|>",
        "<0x41>",
        "é",
        "e\u{301}",
        "東",
        "🗼",
        "\0",
        "\n\n",
    ];
    Ok(match input.int_in_range(0..=3)? {
        0 => input.arbitrary::<&str>()?.chars().take(64).collect(),
        1 => TEXTS.iter().take(input.choose_index(TEXTS.len())? + 1).copied().collect(),
        _ => (*input.choose(&TEXTS)?).to_owned(),
    })
}
