//! Sources of model bytes: disk, browser storage, a `File`, memory.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use crate::error::{Error, Result};

/// A boxed future without `Send`: the crate is single-threaded.
pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// A file of known size that is read in pieces.
pub trait ByteSource {
    /// File name for messages, without folders.
    fn name(&self) -> &str;
    /// Size of the whole file.
    fn size_bytes(&self) -> u64;
    /// Reads exactly `length` bytes at `offset`. Errors: `malformed` if the file is shorter,
    /// `network` if reading fails.
    fn read(&self, offset: u64, length: usize) -> LocalFuture<'_, Result<Vec<u8>>>;
}

/// A file in memory.
#[derive(Debug, Clone)]
pub struct MemorySource {
    name: String,
    bytes: Vec<u8>,
}

impl MemorySource {
    /// Creates a file with the given name and content.
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

/// `malformed`: a read beyond the end of a file.
pub fn past_the_end(file: &str, end: u64, size_bytes: u64) -> Error {
    let found = format!("{size_bytes} bytes");
    Error::malformed_value(file, "size", found, format!("{end}: the file is cut off"))
}

/// Reads all of a small file; `malformed` if it is larger than `max_bytes`.
pub(crate) async fn read_whole(source: &dyn ByteSource, max_bytes: u64) -> Result<Vec<u8>> {
    let size = source.size_bytes();
    match usize::try_from(size) {
        Ok(length) if size <= max_bytes => source.read(0, length).await,
        _ => {
            let (found, expected) = (format!("{size} bytes"), format!("at most {max_bytes}"));
            Err(Error::malformed_value(source.name(), "size", found, expected))
        }
    }
}

/// Reads bytes of a tensor in one of several files; `malformed` if the file is truncated there.
pub(super) async fn read_part(
    files: &[Rc<dyn ByteSource>],
    tensor: &str,
    file: usize,
    offset: u64,
    length: u64,
) -> Result<Vec<u8>> {
    let file = &files[file];
    let end = offset.saturating_add(length);
    match usize::try_from(length) {
        Ok(length) if end <= file.size_bytes() => file.read(offset, length).await,
        _ => Err(Error::malformed_value(
            file.name(),
            &format!("tensor {tensor}"),
            format!("the end of the file at byte {}", file.size_bytes()),
            format!("bytes {offset} to {end}"),
        )),
    }
}
