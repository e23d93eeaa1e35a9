//! A GGUF file of arbitrary bytes: opened, every value read as every type, every tensor read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tablm::weights::{Checkpoint, Container, Metadata};
use tablm_fuzz::{bounds, check, dequantize, file, ready};

fn read_every_value(metadata: &Metadata) {
    for key in metadata.keys() {
        let _ = (metadata.u64(key), metadata.f64(key), metadata.bool(key), metadata.str(key));
        let _ = (metadata.f32s(key), metadata.i64s(key), metadata.u64s_or_scalar(key));
        let _ = metadata.strings(key);
    }
}

fn run(bytes: &[u8]) {
    let checkpoint = match ready(Checkpoint::open(vec![file("m.gguf", bytes)])) {
        Ok(checkpoint) => checkpoint,
        Err(error) => return check(&error),
    };
    if let Container::Gguf(metadata) = &checkpoint.container {
        read_every_value(metadata);
    }
    let is_complete = checkpoint.check_complete().is_ok();
    for tensor in checkpoint.tensors.values() {
        dequantize(&checkpoint, tensor, is_complete);
    }
    let _ = checkpoint.parameters();
}

fuzz_target!(|bytes: &[u8]| bounds::within(bytes.len(), 16 << 20, 256, || run(bytes)));
