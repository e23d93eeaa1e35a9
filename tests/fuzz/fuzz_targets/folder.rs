//! The small files of a safetensors folder with arbitrary bytes: config.json,
//! generation_config.json, tokenizer_config.json and the index, separated by zero bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tablm::weights::{Checkpoint, Container, folder};
use tablm_fuzz::{bounds, check, file, ready};

const NAMES: [&str; 4] = [
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "model.safetensors.index.json",
];
/// A file with one tensor `w` of two numbers in F32.
const WEIGHTS: &[u8] =
    b"\x38\0\0\0\0\0\0\0{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}   \
      \0\0\0\0\0\0\0\0";

fn run(bytes: &[u8]) {
    let parts = bytes.split(|&byte| byte == 0);
    let mut files: Vec<_> = NAMES.iter().zip(parts).map(|(name, part)| file(name, part)).collect();
    files.push(file("tokenizer.json", b"{}"));
    files.push(file("model.safetensors", WEIGHTS));
    let checkpoint = match ready(Checkpoint::open(files)) {
        Ok(checkpoint) => checkpoint,
        Err(error) => return check(&error),
    };
    assert_eq!(checkpoint.tensors.len(), 1);
    let Container::Safetensors(read) = &checkpoint.container else {
        panic!("a folder opened as a .gguf file")
    };
    for value in read.config.as_object().expect("an object").values() {
        let _ = folder::number(value);
    }
}

fuzz_target!(|bytes: &[u8]| bounds::within(bytes.len(), 16 << 20, 256, || run(bytes)));
