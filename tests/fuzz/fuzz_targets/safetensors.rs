//! A safetensors file of arbitrary bytes, with a configuration for MLX, GPTQ and
//! compressed-tensors: the `safetensors` crate must accept every header that is accepted here, and
//! place the tensors equally.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tablm::weights::Checkpoint;
use tablm_fuzz::{bounds, check, dequantize, file, ready};

fn run(bytes: &[u8]) {
    let config = br#"{"quantization": {"group_size": 32, "bits": 4,
        "m": {"group_size": 64, "bits": 8}, "q": {"group_size": 64, "bits": 3},
        "n": {"group_size": 32, "bits": 8, "mode": "mxfp8"},
        "p": {"group_size": 16, "bits": 4, "mode": "nvfp4"}},
        "quantization_config": {"config_groups": {"group_0": {"targets": ["Linear"], "weights":
        {"num_bits": 4, "group_size": 32, "type": "int", "symmetric": true}}}}}"#;
    let files = vec![
        file("config.json", config),
        file("tokenizer.json", b"{}"),
        file("model.safetensors", bytes),
    ];
    let checkpoint = match ready(Checkpoint::open(files)) {
        Ok(checkpoint) => checkpoint,
        Err(error) => return check(&error),
    };
    let length = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes of length")) as usize;
    let theirs: safetensors::tensor::Metadata =
        serde_json::from_slice(&bytes[8..8 + length]).expect("the crate accepts what we accept");
    let is_complete = checkpoint.check_complete().is_ok();
    for tensor in checkpoint.tensors.values() {
        let packed = format!("{}_packed", tensor.name);
        let offset = tensor.offset - 8 - length as u64;
        let is_here = |info: &&safetensors::tensor::TensorInfo| {
            info.data_offsets.0 as u64 == offset
        };
        let info = theirs.info(&tensor.name).filter(is_here);
        let info = info.or_else(|| theirs.info(&packed).filter(is_here));
        let transposed = tensor.name.replace(".weight", ".qweight");
        let info = info.or_else(|| theirs.info(&transposed).filter(is_here));
        let info = info.expect("the crate knows the tensors we know, and where they are");
        if tensor.separate_scales.is_none() && tensor.integers.is_none() {
            // For the crate, blocks of a weight format are bytes.
            let is_bytes = info.dtype == safetensors::Dtype::U8;
            assert!(is_bytes || info.shape.iter().product::<usize>() as u64 == tensor.weights());
            assert_eq!(tensor.size_bytes, (info.data_offsets.1 - info.data_offsets.0) as u64);
        }
        dequantize(&checkpoint, tensor, is_complete);
    }
}

fuzz_target!(|bytes: &[u8]| bounds::within(bytes.len(), 16 << 20, 256, || run(bytes)));
