//! A GGUF file of arbitrary bytes: opened, every value read as every type, every tensor read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tablm::weights::{Checkpoint, Container, Metadata};
use tablm_fuzz::{bounds, check, file, ready};

fn ask_everything(metadata: &Metadata) {
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
        ask_everything(metadata);
    }
    let complete = checkpoint.check_complete().is_ok();
    for tensor in checkpoint.tensors.values() {
        let read = ready(checkpoint.read_rows(tensor, 0, tensor.rows()));
        assert!(!complete || read.is_ok(), "a complete file gives every tensor");
        let Ok(stored) = read else { continue };
        assert_eq!(stored.len() as u64, tensor.size_bytes);
        tensor.format.first_non_finite_row(tensor.columns(), &stored).expect("whole rows");
        let mut values = vec![0.0; tensor.weights() as usize];
        tensor.format.dequantize(tensor.columns(), &stored, &mut values).expect("whole rows");
    }
    let _ = checkpoint.parameters();
}

fuzz_target!(|bytes: &[u8]| bounds::within(bytes.len(), 16 << 20, 256, || run(bytes)));
