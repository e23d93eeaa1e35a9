//! Real files: the downloaded model, and models derived from it.

use std::path::Path;

use tablm::Result;
use tablm::formats::Format;
use tablm::weights::{Checkpoint, Container};

use crate::common::{cache, files};

pub(crate) fn open(path: &Path) -> Result<Checkpoint> {
    pollster::block_on(Checkpoint::open(files::files_of(path)?))
}

/// Dequantized values of some rows of a tensor.
pub(crate) fn values(checkpoint: &Checkpoint, name: &str, first: usize, count: usize) -> Vec<f32> {
    let tensor = &checkpoint.tensors[name];
    let stored = pollster::block_on(checkpoint.read_rows(tensor, first, count)).unwrap();
    let columns = tensor.columns();
    assert_eq!(tensor.format.first_non_finite_row(columns, &stored).unwrap(), None);
    let mut values = vec![0.0; count * columns];
    tensor.format.dequantize(columns, &stored, &mut values).unwrap();
    values
}

#[test]
fn the_downloaded_model_is_read() {
    let model = open(&cache::smollm2()).unwrap();
    model.check_complete().unwrap();
    assert_eq!((model.tensors.len(), model.parameters()), (272, 134_515_008));
    let Container::Gguf(metadata) = &model.container else {
        panic!("a .gguf file opened as a folder")
    };
    assert_eq!(metadata.str("general.architecture").unwrap(), Some("llama"));
    assert_eq!(metadata.u64s_or_scalar("llama.attention.head_count_kv").unwrap(), Some(vec![3]));
    assert_eq!(metadata.strings("tokenizer.ggml.tokens").unwrap().unwrap().len(), 49_152);
    let embeddings = &model.tensors["token_embd.weight"];
    assert_eq!((embeddings.format, &embeddings.shape[..]), (Format::Q8_0, &[49_152, 576][..]));
    assert_eq!(model.tensors["blk.29.ffn_down.weight"].shape, [576, 1536]);
}

#[test]
fn converted_folders_have_the_same_weights() {
    let model = open(&cache::smollm2()).unwrap();
    let f32s = open(&cache::derived("SmolLM2-135M-Instruct-F32")).unwrap();
    let bf16s = open(&cache::derived("SmolLM2-135M-Instruct-BF16")).unwrap();
    for (gguf_name, folder_name) in [
        ("token_embd.weight", "model.embed_tokens.weight"),
        ("blk.7.attn_v.weight", "model.layers.7.self_attn.v_proj.weight"),
        ("blk.29.ffn_down.weight", "model.layers.29.mlp.down_proj.weight"),
        ("output_norm.weight", "model.norm.weight"),
    ] {
        let rows = model.tensors[gguf_name].rows();
        let first = rows / 2;
        let count = (rows - first).min(5);
        let expected = values(&model, gguf_name, first, count);
        assert_eq!(values(&f32s, folder_name, first, count), expected, "{folder_name}");
        for (a, b) in values(&bf16s, folder_name, first, count).iter().zip(&expected) {
            assert!((a - b).abs() <= b.abs() / 256.0, "{folder_name}: {a} and {b}");
        }
    }
    for folder in [f32s, bf16s] {
        folder.check_complete().unwrap();
        assert_eq!((folder.tensors.len(), folder.parameters()), (272, 134_515_008));
        let Container::Safetensors(text) = &folder.container else {
            panic!("a folder opened as a .gguf file")
        };
        assert_eq!(text.config["num_hidden_layers"], 30);
        assert!(text.chat_template.as_ref().unwrap().contains("<|im_start|>"));
        assert!(text.generation_config.is_some() && text.tokenizer_config.is_some());
    }
}

#[test]
fn tiny_models_equal_their_f32_twins() {
    for format in [Format::Q4_K, Format::Q5_K, Format::Q6_K] {
        for hidden in [256, 512] {
            let stem = format!("tiny-{}-{hidden}", format.name());
            let tiny = open(&cache::derived(&format!("{stem}.gguf"))).unwrap();
            let twin = open(&cache::derived(&format!("{stem}.F32.gguf"))).unwrap();
            assert_eq!(tiny.tensors.len(), twin.tensors.len());
            for (name, tensor) in &tiny.tensors {
                let rows = tensor.rows();
                let is_equal = values(&tiny, name, 0, rows) == values(&twin, name, 0, rows);
                assert!(is_equal, "{stem}: {name}");
            }
        }
    }
}

/// Two sums over the bits of values, the second weighted by position, as in make_models.py.
pub(crate) fn checksum(values: &[f32]) -> String {
    let (mut plain, mut weighted) = (0_u64, 0_u64);
    for (value, position) in values.iter().zip(1_u64..) {
        let bits = u64::from(value.to_bits());
        plain = plain.wrapping_add(bits);
        weighted = weighted.wrapping_add(bits.wrapping_mul(position));
    }
    format!("{plain:016x}{weighted:016x}")
}

#[test]
fn every_tensor_has_the_values_of_an_independent_implementation() {
    let bytes = files::read(cache::derived("values.json"));
    let checksums: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let checksums = checksums.as_object().unwrap();
    assert_eq!(checksums.len(), 4 + 2 * 6);
    for (file, sums) in checksums {
        let model = open(&cache::derived(file)).unwrap();
        assert_eq!(model.tensors.len(), sums.as_object().unwrap().len(), "{file}");
        for (name, tensor) in &model.tensors {
            let found = checksum(&values(&model, name, 0, tensor.rows()));
            assert_eq!(sums[name.as_str()], found, "{file}: {name}");
        }
    }
}
