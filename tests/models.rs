//! Every architecture, tiny and random: the same logits on both executors, in every weight
//! format, and what its configuration may and may not say.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::rc::Rc;

use common::engines::devices;
use common::gguf::{Gguf, f32_bytes, formats, tiny_llama};
use tablm::engine::{DeviceChoice, Engine, LoadOptions, estimate, normalised_error};
use tablm::error::{Code, Error};
use tablm::formats::Format;
use tablm::weights::source::{ByteSource, MemorySource};

fn files(model: &Gguf) -> Vec<Rc<dyn ByteSource>> {
    vec![Rc::new(MemorySource::new("tiny.gguf", model.bytes()))]
}

async fn load(model: &Gguf, device: DeviceChoice) -> Result<Engine, Error> {
    Engine::load(files(model), &LoadOptions { device, ..LoadOptions::default() }, &mut |_| {}).await
}

async fn logits(model: &Gguf, device: DeviceChoice) -> Vec<f32> {
    let tokens: Vec<u32> = (0..77).map(|i| (i * 29 + 3) % 250).collect();
    load(model, device).await.unwrap().logits(&tokens).await.unwrap()
}

/// Checks that executors agree, and returns the logits.
async fn agree(name: &str, model: &Gguf) -> Vec<f32> {
    let expected = logits(model, DeviceChoice::Cpu).await;
    assert!(expected.iter().all(|logit| logit.is_finite()) && expected[0] != expected[1], "{name}");
    for device in devices().await {
        let error = normalised_error(&expected, &logits(model, device).await);
        assert!(error < 1e-10, "{name} on {device:?}: {error:e}");
    }
    expected
}

fn refused(model: &Gguf, code: Code, words: &[&str]) {
    let error = pollster::block_on(load(model, DeviceChoice::Cpu)).err().expect("an error");
    assert_eq!(error.code(), code, "{error}");
    for word in words {
        assert!(error.message().contains(word), "{word:?} is not in {error}");
    }
}

#[test]
fn llama_in_every_format() {
    pollster::block_on(async {
        for format in formats() {
            let hidden = if format.rules().block_weights() == 256 { 256 } else { 64 };
            agree(format.name(), &tiny_llama(hidden, format)).await;
        }
    });
}

/// Query heads wider than `hidden / head_count`, as in Minitron Width, and an output matrix.
#[test]
fn llama_with_explicit_head_size_and_untied_output() {
    pollster::block_on(async {
        let mut model = tiny_llama(64, Format::F32).without_key("llama.rope.dimension_count");
        model = model.u32("llama.rope.dimension_count", 32).u32("llama.attention.key_length", 32);
        for layer in 0..2 {
            for (part, rows, columns) in
                [("attn_q", 128, 64), ("attn_k", 64, 64), ("attn_v", 64, 64), ("attn_output", 64, 128)]
            {
                let name = format!("blk.{layer}.{part}.weight");
                let values = (0..rows * columns).map(|i| ((i * 31 % 97) as f32 - 48.0) / 300.0);
                model = model.without(&name).tensor(&name, Format::F32, &[rows, columns], f32_bytes(values));
            }
        }
        let tied = agree("explicit head size", &model).await;
        let values = (0..260 * 64).map(|i| ((i * 17 % 89) as f32 - 44.0) / 100.0);
        let untied = model.tensor("output.weight", Format::F32, &[260, 64], f32_bytes(values));
        assert_ne!(agree("untied", &untied).await, tied);
    });
}

#[test]
fn llama_rotary_divisors_are_used_and_checked() {
    pollster::block_on(async {
        let plain = tiny_llama(64, Format::F32);
        let divisors = |values: Vec<f32>| {
            let length = values.len();
            tiny_llama(64, Format::F32).tensor("rope_freqs.weight", Format::F32, &[length], f32_bytes(values))
        };
        let expected = agree("plain", &plain).await;
        assert_eq!(logits(&divisors(vec![1.0; 8]), DeviceChoice::Cpu).await, expected);
        assert_ne!(agree("divided", &divisors(vec![8.0; 8])).await, expected);
        refused(&divisors(vec![1.0; 6]), Code::Malformed, &["rope_freqs.weight", "found 6", "expected 8"]);
    });
}

#[test]
fn llama_configurations_that_cannot_be() {
    let tiny = || tiny_llama(64, Format::F32);
    let with = |key: &str, value: u32| tiny().without_key(key).u32(key, value);
    refused(&with("llama.attention.head_count_kv", 3), Code::Malformed, &["3", "divisor"]);
    refused(&with("llama.attention.head_count_kv", 0), Code::Malformed, &["0"]);
    refused(&with("llama.attention.head_count", 0), Code::Malformed, &["head_count", "0"]);
    refused(&with("llama.block_count", u32::MAX), Code::Malformed, &["block_count", "4294967295"]);
    refused(&with("llama.block_count", 20), Code::MissingTensors, &["blk.2.attn_norm.weight"]);
    refused(&with("llama.embedding_length", 128), Code::MissingTensors, &["token_embd.weight"]);
    refused(&with("llama.embedding_length", 1 << 30), Code::Malformed, &["embedding_length"]);
    refused(&with("llama.rope.dimension_count", 17), Code::Malformed, &["17", "even"]);
    refused(&tiny().str("llama.rope.scaling.type", "yarn"), Code::UnsupportedFormat, &["yarn", "llama3"]);
    refused(
        &tiny().f32("llama.rope.scaling.factor", f32::NAN).str("llama.rope.scaling.type", "linear"),
        Code::Malformed,
        &["NaN"],
    );
    let other = tiny().without_key("general.architecture").str("general.architecture", "mamba");
    refused(&other, Code::UnknownArchitecture, &["mamba", "llama"]);
}

#[test]
fn estimates_come_from_headers() {
    pollster::block_on(async {
        let model = tiny_llama(64, Format::Q8_0);
        let found = estimate(files(&model), &LoadOptions::default(), None).await.unwrap();
        assert_eq!((found.architecture.as_str(), found.fits, found.tensors.len()), ("llama", None, 20));
        for device in devices().await {
            let info = load(&model, device).await.unwrap().info();
            assert_eq!(info.memory.state_bytes, found.memory.state_bytes);
            if device == DeviceChoice::Gpu {
                let (predicted, measured) =
                    (found.memory.peak_gpu_bytes as f64, info.memory.peak_gpu_bytes as f64);
                assert!(
                    (predicted / measured - 1.0).abs() < 0.02,
                    "predicted {predicted}, measured {measured}"
                );
            }
        }
    });
}
