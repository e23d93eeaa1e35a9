//! Code shared by the fuzz targets.

/// Writers of whole models, shared with the tests.
#[path = "../../common"]
pub mod written {
    pub mod gguf;
    pub mod nemotron_h;
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
use tablm::{Code, Error};

/// A file in memory.
pub fn file(name: &str, bytes: &[u8]) -> Rc<dyn ByteSource> {
    Rc::new(MemorySource::new(name, bytes))
}

/// Result of a future that never waits, as when all reads are from memory.
pub fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("reading from memory waits for nothing"),
    }
}

/// Chat template of valid models.
pub const TEMPLATE: &str =
    "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}";

/// Checks an error: the code is not `internal`, and there is a message.
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

/// A short text: from the input, or typical of files.
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
