//! The parts of the crate that read what others wrote, without the executors and their
//! dependencies: the same files, compiled once more with coverage counters.

#[path = "../../../src/error.rs"]
pub mod error;
#[path = "../../../src/formats/mod.rs"]
pub mod formats;
#[path = "../../../src/noise.rs"]
pub mod noise;
#[path = "../../../src/text/mod.rs"]
pub mod text;
#[path = "../../../src/weights/mod.rs"]
pub mod weights;

pub use error::{Code, Error, Result};

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use weights::source::{ByteSource, MemorySource};

/// A file in memory.
pub fn file(name: &str, bytes: &[u8]) -> Rc<dyn ByteSource> {
    Rc::new(MemorySource::new(name, bytes))
}

/// The result of a future that waits for nothing, as everything that reads from memory does.
pub fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("reading from memory waits for nothing"),
    }
}

/// Checks what holds for every error: a code that blames the input, and a message with something in it.
pub fn check(error: &Error) {
    assert!(!error.message().is_empty());
    assert_ne!(error.code(), Code::Internal, "{error}");
}
