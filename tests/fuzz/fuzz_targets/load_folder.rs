//! A valid safetensors folder with a few changes: estimated, planned, loaded on the CPU, used to
//! generate two tokens.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tablm_fuzz::{Unstructured, bounds, load, tiny_folder};

fn run(bytes: &[u8]) {
    // libFuzzer starts with an empty input.
    if bytes.is_empty() {
        for kind in tiny_folder::KINDS {
            load::load_and_generate(tiny_folder::valid_folder(kind).sources())
                .unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        }
    } else if let Ok(folder) = tiny_folder::changed_folder(&mut Unstructured::new(bytes)) {
        let _ = load::load_and_generate(folder.sources());
    }
}

fuzz_target!(|bytes: &[u8]| bounds::within(bytes.len(), 64 << 20, 64, || run(bytes)));
