//! Where the bytes of a model come from: disk, browser storage, a `File`.

use std::future::Future;
use std::pin::Pin;

use crate::error::Result;

/// A future of this crate: single-threaded, so without `Send`.
pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// A file of known size that is read in pieces.
pub trait ByteSource {
    /// The file's name for messages, without folders.
    fn name(&self) -> &str;
    /// The whole file's size.
    fn size_bytes(&self) -> u64;
    /// Exactly `length` bytes at `offset`; `malformed` when the file is shorter, `network` when
    /// reading fails.
    fn read(&self, offset: u64, length: usize) -> LocalFuture<'_, Result<Vec<u8>>>;
}
