//! Files on disk, for the native command line and tests.

use std::cell::RefCell;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;
use std::rc::Rc;

use crate::error::{Code, Error, Result};
use crate::weights::folder;
use crate::weights::source::{ByteSource, LocalFuture, past_the_end};

/// A file on disk, open.
pub struct DiskSource {
    name: String,
    size_bytes: u64,
    file: RefCell<File>,
}

impl DiskSource {
    /// Opens the file; `invalid-request` when it is not there, `network` when it cannot be read.
    pub fn open(path: &Path) -> Result<DiskSource> {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let file = File::open(path).map_err(|error| unreadable(path, &error))?;
        let size_bytes = file.metadata().map_err(|error| unreadable(path, &error))?.len();
        Ok(DiskSource { name, size_bytes, file: RefCell::new(file) })
    }

    fn read_now(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let end = offset.saturating_add(length as u64);
        if end > self.size_bytes {
            return Err(past_the_end(&self.name, end, self.size_bytes));
        }
        let mut file = self.file.borrow_mut();
        let mut bytes = vec![0; length];
        let read = file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(&mut bytes));
        read.map_err(|error| Error::new(Code::Network, format!("{}: reading: {error}", self.name)))?;
        Ok(bytes)
    }
}

impl ByteSource for DiskSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read(&self, offset: u64, length: usize) -> LocalFuture<'_, Result<Vec<u8>>> {
        Box::pin(std::future::ready(self.read_now(offset, length)))
    }
}

/// The files of the model at `path`: one file, or those of a safetensors folder.
/// `invalid-request` when nothing is there, `network` when it cannot be read.
pub fn open_path(path: &Path) -> Result<Vec<Rc<dyn ByteSource>>> {
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if !metadata.is_dir() {
        return Ok(vec![Rc::new(DiskSource::open(path)?)]);
    }
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|error| unreadable(path, &error))? {
        let name = entry.map_err(|error| unreadable(path, &error))?.file_name();
        if name.to_str().is_some_and(folder::is_part) {
            names.push(name);
        }
    }
    if names.is_empty() {
        return Err(Error::invalid_request(
            "model",
            format!(
                "{}: folder without model files, expected config.json, *.safetensors and tokenizer.json",
                path.display()
            ),
        ));
    }
    // The same order everywhere, whatever the file system gives.
    names.sort();
    let open = |name: &std::ffi::OsString| -> Result<Rc<dyn ByteSource>> {
        Ok(Rc::new(DiskSource::open(&path.join(name))?))
    };
    names.iter().map(open).collect()
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    if error.kind() == ErrorKind::NotFound {
        return Error::invalid_request("model", format!("{}: no such file or folder", path.display()));
    }
    Error::new(Code::Network, format!("{}: {error}", path.display()))
}
