//! Tuning cache: measurements of this machine's adapters, in a file of the user's cache folder.

use std::io::Read;
use std::path::PathBuf;

use tablm::weights::disk::open_file;

/// Maximum bytes of the file; the engine does not write longer ones, so they are ignored.
const MAX_BYTES: u64 = 1 << 16;

fn path() -> Option<PathBuf> {
    let own = std::env::var_os("TABLM_CACHE").filter(|path| !path.is_empty()).map(PathBuf::from);
    let folder = own.or_else(|| Some(std::env::home_dir()?.join(".cache").join("tablm")));
    folder.map(|folder| folder.join("tuning.json"))
}

/// Text of the cache, empty if there is none yet; `None` if there is no folder for it.
pub(crate) fn read() -> Option<String> {
    let mut text = String::new();
    let file = open_file(&path()?);
    let read = file.is_ok_and(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text).is_ok());
    Some(if read && text.len() as u64 <= MAX_BYTES { text } else { String::new() })
}

/// Writes the cache; if that fails, the next load measures again.
pub(crate) fn write(text: &str) {
    let Some(path) = path() else { return };
    let folder = path.parent().map(std::fs::create_dir_all);
    let _ = folder.and_then(|_| std::fs::write(&path, text).ok());
}
