//! Files for tests: from disk, or in wasm through the functions of tests/wasm/run.mjs.
#![allow(unused_imports, reason = "each test program uses a part")]

use std::path::Path;
use std::rc::Rc;

use tablm::weights::source::ByteSource;

#[cfg(target_arch = "wasm32")]
pub use host::{env_variable, exists, files_of, read};
#[cfg(not(target_arch = "wasm32"))]
pub use native::{env_variable, exists, files_of, read, temporary_file};

/// Opens the files of the model at `path`.
pub fn open(path: &Path) -> Vec<Rc<dyn ByteSource>> {
    files_of(path).unwrap_or_else(|error| panic!("{error}"))
}

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use std::path::{Path, PathBuf};
    use std::rc::Rc;

    use tablm::weights::{disk, source::ByteSource};

    pub fn files_of(path: &Path) -> tablm::Result<Vec<Rc<dyn ByteSource>>> {
        disk::open_path(path)
    }

    pub fn exists(path: &Path) -> bool {
        path.exists()
    }

    pub fn read(path: impl AsRef<Path>) -> Vec<u8> {
        let path = path.as_ref();
        std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub fn env_variable(name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    /// Writes a file to the folder for temporary files of tests.
    pub fn temporary_file(name: &str, bytes: &[u8]) -> PathBuf {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }
}

#[cfg(target_arch = "wasm32")]
mod host {
    use std::path::Path;
    use std::rc::Rc;

    use tablm::weights::source::{ByteSource, LocalFuture};
    use wasm_bindgen::prelude::wasm_bindgen;

    #[wasm_bindgen]
    extern "C" {
        /// Size of a file in bytes, if it exists.
        #[wasm_bindgen(js_name = hostSize)]
        fn size(path: &str) -> Option<f64>;
        #[wasm_bindgen(js_name = hostRead)]
        fn read_part(path: &str, offset: f64, length: f64) -> Vec<u8>;
        /// Names of the files in a folder, if it exists.
        #[wasm_bindgen(js_name = hostNames)]
        fn names(path: &str) -> Option<Vec<String>>;
        #[wasm_bindgen(js_name = hostVariable)]
        fn environment(name: &str) -> Option<String>;
    }

    /// A file that the host reads part by part.
    struct HostSource {
        path: String,
        name: String,
        size_bytes: u64,
    }

    impl ByteSource for HostSource {
        fn name(&self) -> &str {
            &self.name
        }

        fn size_bytes(&self) -> u64 {
            self.size_bytes
        }

        fn read(&self, offset: u64, length: usize) -> LocalFuture<'_, tablm::Result<Vec<u8>>> {
            let bytes = read_part(&self.path, offset as f64, length as f64);
            Box::pin(std::future::ready(Ok(bytes)))
        }
    }

    fn file(path: &Path) -> Rc<dyn ByteSource> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let path = path.to_string_lossy().into_owned();
        let size_bytes = size(&path).unwrap_or_else(|| panic!("{path}: no such file")) as u64;
        Rc::new(HostSource { path, name, size_bytes })
    }

    pub fn files_of(path: &Path) -> tablm::Result<Vec<Rc<dyn ByteSource>>> {
        let Some(names) = names(&path.to_string_lossy()) else { return Ok(vec![file(path)]) };
        let parts = names.iter().filter(|name| tablm::weights::folder::is_part(name));
        Ok(parts.map(|name| file(&path.join(name))).collect())
    }

    pub fn exists(path: &Path) -> bool {
        let path = path.to_string_lossy();
        size(&path).is_some() || names(&path).is_some()
    }

    pub fn read(path: impl AsRef<Path>) -> Vec<u8> {
        let path = path.as_ref().to_string_lossy();
        let size = size(&path).unwrap_or_else(|| panic!("{path}: no such file"));
        read_part(&path, 0.0, size)
    }

    pub fn env_variable(name: &str) -> Option<String> {
        environment(name)
    }
}
