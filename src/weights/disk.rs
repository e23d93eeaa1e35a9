//! Files on disk, for the native command line and tests.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde_json::Value;

use crate::error::{Code, Error, Result, mismatch};
use crate::weights::gguf::split_files::PartName;
use crate::weights::json;
use crate::weights::safetensors::sentence_modules::{self, MAX_MODULES, is_module_path};
use crate::weights::safetensors::{files, shard_index};
use crate::weights::source::{ByteSource, LocalFuture, past_the_end};

/// Subfolder of a model with named chat templates.
const NAMED_TEMPLATES: &str = "additional_chat_templates";

/// An open file on disk.
pub struct DiskSource {
    name: String,
    size_bytes: u64,
    file: RefCell<File>,
}

impl DiskSource {
    /// Opens a file as [`open_file`] does.
    pub fn open(path: &Path) -> Result<DiskSource> {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Self::named(name, path)
    }

    fn named(name: String, path: &Path) -> Result<DiskSource> {
        let file = open_file(path)?;
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
        read.map_err(|error| {
            Error::new(Code::Network, format!("{}: reading failed: {error}", self.name))
        })?;
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

/// Opens a regular file for reading: other files may block or have no end. Errors:
/// `invalid-request` if there is none, `network` if it cannot be read.
pub fn open_file(path: &Path) -> Result<File> {
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if !metadata.is_file() {
        let found = if metadata.is_dir() { "a folder" } else { "a pipe, socket or device" };
        let message = mismatch(found, "a regular file");
        let message = format!("{}: {message}", path.display());
        return Err(Error::new(Code::InvalidRequest, message));
    }
    File::open(path).map_err(|error| unreadable(path, &error))
}

/// Opens the files of the model at `path`: a file with the parts that lie beside it, or the files
/// of a folder. Errors: `invalid-request` if nothing is there, `network` if it cannot be read.
pub fn open_path(path: &Path) -> Result<Vec<Rc<dyn ByteSource>>> {
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if !metadata.is_dir() {
        let part = path.file_name().and_then(|name| name.to_str()).and_then(PartName::parse);
        let Some((part, folder)) = part.zip(path.parent()) else {
            return open_all([path.to_owned()]);
        };
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let is_beside =
            |name: &str| PartName::parse(name).is_some_and(|other| other.is_same_model(&part));
        return open_all(matching_files(folder, is_beside)?);
    }
    let mut paths = matching_files(path, files::is_part)?;
    let tool_template = path.join(NAMED_TEMPLATES).join(files::TOOL_TEMPLATE);
    if tool_template.is_file() && !path.join(files::TOOL_TEMPLATE).is_file() {
        paths.push(tool_template);
    }
    if !paths.iter().any(|path| path.to_string_lossy().ends_with(files::SAFETENSORS)) {
        let is_gguf = |name: &str| name.to_ascii_lowercase().ends_with(".gguf");
        let ggufs = matching_files(path, is_gguf)?;
        paths = if ggufs.is_empty() { paths } else { ggufs };
    }
    paths.extend(shards_below(path)?);
    if paths.is_empty() {
        let found = format!("no model files in {}", path.display());
        let expected = "config.json, *.safetensors and tokenizer.json, or a .gguf file";
        return Err(Error::invalid_value("model", found, expected));
    }
    let mut files = open_all(paths)?;
    files.extend(module_files(path)?);
    Ok(files)
}

/// Files in the subfolders that a folder's list of modules names; their names have the subfolder.
fn module_files(folder: &Path) -> Result<Vec<Rc<dyn ByteSource>>> {
    // Opening the model reports an invalid list.
    let list = json::parse(&small_file(&folder.join(files::MODULES))?).unwrap_or(Value::Null);
    let modules = sentence_modules::entries(&list).unwrap_or_default().into_iter();
    let paths = modules.map(|(path, _)| path).filter(|path| is_module_path(path));
    let mut files: Vec<Rc<dyn ByteSource>> = Vec::new();
    for subfolder in paths.take(MAX_MODULES) {
        for file in [files::CONFIG, files::SINGLE] {
            let path = folder.join(subfolder).join(file);
            if path.is_file() {
                files.push(Rc::new(DiskSource::named(format!("{subfolder}/{file}"), &path)?));
            }
        }
    }
    Ok(files)
}

/// Content of a regular file of the length of an index at most; empty if there is none.
fn small_file(path: &Path) -> Result<Vec<u8>> {
    let is_readable = std::fs::metadata(path)
        .is_ok_and(|found| found.is_file() && found.len() <= files::MAX_INDEX_BYTES);
    if !is_readable {
        return Ok(Vec::new());
    }
    std::fs::read(path).map_err(|error| unreadable(path, &error))
}

/// Paths of the files in a folder whose names satisfy `is_wanted`, sorted, because file systems
/// list them in different orders.
fn matching_files(folder: &Path, is_wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
        let name = entry.map_err(|error| unreadable(folder, &error))?.file_name();
        if name.to_str().is_some_and(&is_wanted) {
            paths.push(folder.join(name));
        }
    }
    paths.sort();
    Ok(paths)
}

/// Shards that a folder's index places in subfolders, as far as they exist.
fn shards_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let index = small_file(&folder.join(files::INDEX))?;
    // Opening the model reports an invalid index.
    let map = shard_index::shard_paths(&index).unwrap_or_default();
    let below: BTreeSet<Vec<&str>> = map
        .values()
        .filter_map(|path| shard_index::segments(path))
        .filter(|segments| segments.len() > 1)
        .collect();
    let paths = below.into_iter().map(|segments| folder.join(segments.iter().collect::<PathBuf>()));
    Ok(paths.filter(|path| path.is_file()).collect())
}

fn open_all(paths: impl IntoIterator<Item = PathBuf>) -> Result<Vec<Rc<dyn ByteSource>>> {
    let open =
        |path: PathBuf| -> Result<Rc<dyn ByteSource>> { Ok(Rc::new(DiskSource::open(&path)?)) };
    paths.into_iter().map(open).collect()
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    if error.kind() == ErrorKind::NotFound {
        return Error::new(
            Code::InvalidRequest,
            format!("{}: no such file or folder", path.display()),
        );
    }
    Error::new(Code::Network, format!("{}: {error}", path.display()))
}
