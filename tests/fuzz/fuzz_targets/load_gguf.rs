//! A valid GGUF model with a few changes, or arbitrary bytes: estimated, planned, loaded on the
//! CPU, used to generate two tokens.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tablm_fuzz::{Unstructured, bounds, file, load, tiny_gguf};

fn run(bytes: &[u8]) {
    // libFuzzer starts with an empty input.
    if bytes.is_empty() {
        for (index, model) in tiny_gguf::models().iter().enumerate() {
            load::load_and_generate(vec![file("m.gguf", &model.bytes())])
                .unwrap_or_else(|error| panic!("model {index}: {error}"));
        }
    } else if bytes.starts_with(b"GGUF") {
        let _ = load::load_and_generate(vec![file("m.gguf", bytes)]);
    } else if let Ok(model) = tiny_gguf::changed_file(&mut Unstructured::new(bytes)) {
        let _ = load::load_and_generate(vec![file("m.gguf", &model)]);
    }
}

fuzz_target!(|bytes: &[u8]| bounds::within(bytes.len(), 64 << 20, 64, || run(bytes)));
