//! Where the bytes of a model come from: disk, browser storage, a `File`, memory.

use std::future::Future;
use std::pin::Pin;

use crate::error::{Error, Result};

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

/// A file that is already in memory: small downloads, and tests.
#[derive(Debug, Clone)]
pub struct MemorySource {
    name: String,
    bytes: Vec<u8>,
}

impl MemorySource {
    /// A file of that name and content.
    pub fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), bytes: bytes.into() }
    }
}

impl ByteSource for MemorySource {
    fn name(&self) -> &str {
        &self.name
    }

    fn size_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read(&self, offset: u64, length: usize) -> LocalFuture<'_, Result<Vec<u8>>> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let piece = self.bytes.get(start..).and_then(|rest| rest.get(..length));
        let result = piece.map(<[u8]>::to_vec).ok_or_else(|| {
            let end = offset.saturating_add(length as u64);
            past_the_end(&self.name, end, self.size_bytes())
        });
        Box::pin(std::future::ready(result))
    }
}

/// The error of a read past the end of a file.
pub fn past_the_end(file: &str, end: u64, size_bytes: u64) -> Error {
    Error::malformed(file, "size", format!("{size_bytes} bytes, needed {end}: the file is cut off"))
}

/// All of a small file; `malformed` when it is larger than `bytes_max`.
pub(crate) async fn read_whole(source: &dyn ByteSource, bytes_max: u64) -> Result<Vec<u8>> {
    let size = source.size_bytes();
    match usize::try_from(size) {
        Ok(length) if size <= bytes_max => source.read(0, length).await,
        _ => Err(Error::malformed(
            source.name(),
            "size",
            format!("{size} bytes, expected at most {bytes_max}"),
        )),
    }
}
