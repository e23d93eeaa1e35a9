//! One safetensors file of any bytes: whatever we accept the `safetensors` crate accepts too.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tablm_fuzz::weights::Checkpoint;
use tablm_fuzz::{check, file, ready};

fuzz_target!(|bytes: &[u8]| {
    let files =
        vec![file("config.json", b"{}"), file("tokenizer.json", b"{}"), file("model.safetensors", bytes)];
    let checkpoint = match ready(Checkpoint::open(files)) {
        Ok(checkpoint) => checkpoint,
        Err(error) => return check(&error),
    };
    let length = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes of length")) as usize;
    let theirs: safetensors::tensor::Metadata =
        serde_json::from_slice(&bytes[8..8 + length]).expect("the crate accepts what we accept");
    let complete = checkpoint.check_complete().is_ok();
    for tensor in checkpoint.tensors.values() {
        let info = theirs.info(&tensor.name).expect("the crate knows the tensors we know");
        // Blocks of a weight format are bytes for the crate.
        assert!(info.shape == tensor.shape || info.dtype == safetensors::Dtype::U8);
        assert_eq!(tensor.offset, 8 + length as u64 + info.data_offsets.0 as u64);
        assert_eq!(tensor.size_bytes, (info.data_offsets.1 - info.data_offsets.0) as u64);
        let read = ready(checkpoint.read_rows(tensor, 0, tensor.rows()));
        assert!(!complete || read.is_ok(), "a complete file gives every tensor");
    }
});
