//! Opening models by path.

use std::path::PathBuf;

use serde_json::json;
use tablm::Code;
use tablm::formats::Format;
use tablm::weights::disk;

use crate::common::cache;
use crate::common::gguf::tiny_llama;
use crate::folder_variants::overlaid;
use crate::real_files::{open, values};
use crate::refused;
use crate::split_files::{Files, parts};

const BAD: Code = Code::Malformed;

/// A folder on disk, removed when dropped.
struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    fn new(name: &str) -> TemporaryFolder {
        let path = std::env::temp_dir().join(format!("tablm-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        TemporaryFolder(path)
    }

    fn write(&self, files: &Files) {
        for (name, file) in &files.0 {
            std::fs::write(self.0.join(name), file.bytes()).unwrap();
        }
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn invalid_paths_are_named() {
    let folder = &TemporaryFolder::new("weights").0;
    refused(open(folder), Code::InvalidRequest, &["found no model files in"]);
    refused(open(&folder.join("no.gguf")), Code::InvalidRequest, &["no.gguf: no such file"]);
    std::fs::write(folder.join("empty.gguf"), b"").unwrap();
    refused(
        open(&folder.join("empty.gguf")),
        Code::Malformed,
        &["empty.gguf: magic: found an empty file"],
    );
    std::fs::write(folder.join("config.json"), b"{}").unwrap();
    refused(open(folder), Code::Malformed, &["empty.gguf: magic"]);
    std::fs::write(folder.join("model.safetensors"), b"{}").unwrap();
    refused(open(folder), Code::Malformed, &["tokenizer.json"]);
}

#[test]
fn named_templates_are_found_in_a_subfolder() {
    let path = &TemporaryFolder::new("named-templates").0;
    let templates = path.join("additional_chat_templates");
    std::fs::create_dir_all(&templates).unwrap();
    std::fs::write(path.join("config.json"), "{}").unwrap();
    std::fs::write(templates.join("tool_use.jinja"), "t").unwrap();
    std::fs::write(templates.join("config.json"), "another").unwrap();
    let files = disk::open_path(path).unwrap();
    let names: Vec<&str> = files.iter().map(|file| file.name()).collect();
    assert_eq!(names, ["config.json", "tool_use.jinja"]);
}

#[test]
fn an_index_may_name_files_in_subfolders() {
    let path = &TemporaryFolder::new("shards").0;
    std::fs::create_dir_all(path.join("below")).unwrap();
    let index = json!({"a": "below/one.safetensors", "b": "./below/one.safetensors",
        "c": "two.safetensors"});
    for (name, bytes) in &overlaid(Some(index)).0 {
        let folder = if name == "one.safetensors" { path.join("below") } else { path.clone() };
        std::fs::write(folder.join(name), bytes).unwrap();
    }
    let checkpoint = open(path).unwrap();
    assert_eq!(values(&checkpoint, "a", 0, 1), [1.0; 2]);
}

#[test]
fn parts_on_disk_are_found_from_any_part() {
    let folder = TemporaryFolder::new("parts");
    folder.write(&parts());
    let count = tiny_llama(64, Format::Q4_0).tensors.len();
    for name in ["", "tiny-00001-of-00003.gguf", "tiny-00003-of-00003.gguf"] {
        assert_eq!(open(&folder.0.join(name)).unwrap().tensors.len(), count, "{name}");
    }
    // Another model in the same folder is ignored if a part is opened, but not if the folder is.
    let mut other = parts();
    for (name, _) in &mut other.0 {
        *name = name.replace("tiny", "other");
    }
    folder.write(&other);
    assert_eq!(open(&folder.0.join("tiny-00002-of-00003.gguf")).unwrap().tensors.len(), count);
    refused(open(&folder.0), BAD, &["a part of another model"]);
    std::fs::remove_file(folder.0.join("tiny-00002-of-00003.gguf")).unwrap();
    refused(
        open(&folder.0.join("tiny-00001-of-00003.gguf")),
        BAD,
        &["tiny-00002-of-00003.gguf", "found 2 of 3 parts"],
    );
    refused(
        open(&folder.0.join("tiny-00002-of-00003.gguf")),
        Code::InvalidRequest,
        &["no such file"],
    );
}

/// The Python package gguf wrote the parts, with a fused tensor and its head counts apart.
#[test]
fn parts_written_by_another_implementation_equal_the_single_file() {
    let whole = open(&cache::tiny("phi-parameters.gguf")).unwrap();
    let parts = open(&cache::tiny("phi-parameters-00001-of-00003.gguf")).unwrap();
    assert_eq!(parts.files.len(), 3);
    assert!(whole.tensors.keys().eq(parts.tensors.keys()));
    for (name, tensor) in &whole.tensors {
        let rows = tensor.rows();
        assert_eq!(values(&whole, name, 0, rows), values(&parts, name, 0, rows), "{name}");
    }
}
