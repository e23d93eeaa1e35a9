//! Paths of the file system.

use tablm::Code;

use crate::real::open;
use crate::refused;

#[test]
fn paths_that_lead_nowhere_are_named() {
    let folder = std::env::temp_dir().join(format!("tablm-weights-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    refused(open(&folder), Code::InvalidRequest, &["folder without model files"]);
    refused(open(&folder.join("no.gguf")), Code::InvalidRequest, &["no.gguf: no such file"]);
    std::fs::write(folder.join("empty.gguf"), b"").unwrap();
    refused(open(&folder.join("empty.gguf")), Code::Malformed, &["empty.gguf: magic: the file is empty"]);
    std::fs::write(folder.join("config.json"), b"{}").unwrap();
    refused(open(&folder), Code::Malformed, &["empty.gguf: magic"]);
    std::fs::write(folder.join("model.safetensors"), b"{}").unwrap();
    refused(open(&folder), Code::Malformed, &["tokenizer.json"]);
    std::fs::remove_dir_all(&folder).unwrap();
}
