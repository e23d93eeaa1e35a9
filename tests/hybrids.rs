//! Configurations of families with several kinds of layers: forms that mean the same, and options
//! that are refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::rc::Rc;

use common::files::read;
use common::gguf::{Gguf, kind};
use common::gguf_parts::Parts;
use common::{assert_contains, cache};
use serde_json::{Value, json};
use tablm::engine::{DeviceChoice, Engine, LoadOptions};
use tablm::error::{Code, Error};
use tablm::weights::source::{ByteSource, MemorySource};

fn logits(files: &[(&str, Vec<u8>)]) -> Result<Vec<f32>, Error> {
    let sources = files.iter().map(|(name, bytes)| {
        Rc::new(MemorySource::new(*name, bytes.clone())) as Rc<dyn ByteSource>
    });
    let options = LoadOptions { device: DeviceChoice::Cpu, ..LoadOptions::default() };
    let run = async {
        let mut engine = Engine::load(sources.collect(), &options, &mut |_| {}).await?;
        engine.logits(&[5, 53, 7, 91, 12]).await
    };
    pollster::block_on(run)
}

/// Logits of a folder whose configuration has some fields replaced; `null` removes a field.
fn with_config(model: &str, changes: &Value) -> Result<Vec<f32>, Error> {
    with_config_and_weights(model, changes, read(cache::tiny(model).join("model.safetensors")))
}

/// [`with_config`] with other weights.
fn with_config_and_weights(
    model: &str,
    changes: &Value,
    weights: Vec<u8>,
) -> Result<Vec<f32>, Error> {
    let read = |name: &str| read(cache::tiny(model).join(name));
    let mut config: Value = serde_json::from_slice(&read("config.json")).unwrap();
    for (field, value) in changes.as_object().unwrap() {
        let fields = config.as_object_mut().unwrap();
        match value {
            Value::Null => fields.remove(field),
            value => fields.insert(field.clone(), value.clone()),
        };
    }
    logits(&[
        ("config.json", config.to_string().into_bytes()),
        ("model.safetensors", weights),
        ("tokenizer.json", read("tokenizer.json")),
    ])
}

#[track_caller]
fn refused(result: Result<Vec<f32>, Error>, code: Code, words: &[&str]) {
    let error = result.expect_err("an error");
    assert_eq!(error.code(), code, "{error}");
    assert_contains(error.message(), words);
}

#[test]
fn configurations_that_mean_the_same_give_equal_logits() {
    for (model, changes) in [
        // Types of layers, and their indices.
        ("lfm2-types", json!({ "layer_types": null, "full_attn_idxs": [1, 3] })),
        // The size of the feed-forward layers after its adjustment.
        ("lfm2-untied", json!({ "block_auto_adjust_ff_dim": false, "intermediate_size": 176 })),
        ("lfm2-narrow", json!({ "tie_embedding": null, "tie_word_embeddings": true })),
        // The default pattern of layers, stated.
        (
            "lfm3-pattern",
            json!({ "layer_types": [
                "conv", "conv", "full_attention", "conv", "sliding_attention", "conv",
                "full_attention",
            ] }),
        ),
        // Proportional positions as the released checkpoints state them, and as the default.
        (
            "lfm3-pattern",
            json!({ "rope_parameters": {
                "full_attention": {
                    "partial_rotary_factor": 0.5, "rope_theta": 1e6, "rope_type": "default",
                },
                "sliding_attention": { "rope_theta": 10000.0, "rope_type": "default" },
            } }),
        ),
        ("lfm3-pattern", json!({ "rope_parameters": null })),
        (
            "granitehybrid-hub",
            json!({ "layer_types": null, "layers_block_type": [
                "linear_attention", "linear_attention", "full_attention", "linear_attention",
            ] }),
        ),
        // Factors of 1, which are the defaults.
        (
            "falcon_h1-ones",
            json!({
                "attention_in_multiplier": null, "key_multiplier": null, "mlp_multipliers": null,
                "ssm_in_multiplier": null, "ssm_multipliers": null, "ssm_out_multiplier": null,
            }),
        ),
        // The default pattern of windows.
        ("exaone4-window", json!({ "layer_types": null, "sliding_window_pattern": 4 })),
    ] {
        let expected = with_config(model, &json!({})).unwrap();
        let found = with_config(model, &changes).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(found, expected, "{model}: {changes}");
    }
}

/// MLX multiplies the weights of Falcon-H1 by the factors, and leaves them in the configuration;
/// its convolutions have other axes.
#[test]
fn factors_of_falcon_h1_are_in_the_weights_of_mlx() {
    let weights = read(cache::tiny("falcon_h1-ones").join("model.safetensors"));
    let expected = with_config("falcon_h1-ones", &json!({})).unwrap();
    let factors = json!({ "key_multiplier": 0.5, "mlp_multipliers": [2.0, 3.0] });
    assert_ne!(with_config("falcon_h1-ones", &factors).unwrap(), expected);
    let header_bytes = 8 + u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
    let (header, data) = weights.split_at(header_bytes);
    let header = String::from_utf8(header[8..].to_vec()).unwrap();
    let moved = header.replace(",1,4]", ",4,1]").replace(", 1, 4]", ", 4, 1]");
    assert_ne!(moved, header);
    let weights = [&weights[..8], moved.as_bytes(), data].concat();
    let found = with_config_and_weights("falcon_h1-ones", &factors, weights).unwrap();
    assert_eq!(found, expected);
}

#[test]
fn unsupported_options_are_refused_by_name() {
    use Code::{Malformed, UnsupportedFormat};
    for (model, changes, code, words) in [
        ("lfm2-types", json!({ "conv_bias": true }), UnsupportedFormat, ["conv_bias", "true"]),
        ("lfm2-types", json!({ "conv_L_cache": 9 }), UnsupportedFormat, ["conv_L_cache", "2 to 8"]),
        ("lfm2-types", json!({ "layer_types": ["conv"] }), Malformed, ["layer_types", "4 layers"]),
        (
            "lfm2-types",
            json!({ "layer_types": ["conv", "moe", "conv", "conv"] }),
            UnsupportedFormat,
            ["layer_types", "moe"],
        ),
        (
            "lfm2-indices",
            json!({ "full_attn_idxs": [-1] }),
            Malformed,
            ["full_attn_idxs", "indices of layers"],
        ),
        (
            "lfm2-indices",
            json!({ "block_multiple_of": 0 }),
            Malformed,
            ["block_multiple_of", "at least 1"],
        ),
        ("lfm3-pattern", json!({ "attention_bias": true }), UnsupportedFormat, ["bias", "true"]),
        ("lfm3-pattern", json!({ "sliding_window": 0 }), Malformed, ["sliding_window", "1"]),
        (
            "lfm3-pattern",
            json!({ "use_attention_gate": false, "intermediate_size": 99 }),
            Code::MissingTensors,
            ["feed_forward.w1", "[99, 96]"],
        ),
        (
            "granitehybrid-hub",
            json!({ "num_local_experts": 8 }),
            UnsupportedFormat,
            ["num_local_experts", "8"],
        ),
        (
            "granitehybrid-hub",
            json!({ "residual_multiplier": 0.0 }),
            Malformed,
            ["residual_multiplier", "positive"],
        ),
        (
            "granitehybrid-hub",
            json!({ "time_step_limit": [0.001, 0.1] }),
            UnsupportedFormat,
            ["time_step_limit", "Infinity"],
        ),
    ] {
        refused(with_config(model, &changes), code, &words);
    }
}

#[test]
fn unsupported_factors_of_falcon_h1_are_refused_by_name() {
    use Code::{Malformed, UnsupportedFormat};
    for (changes, code, words) in [
        (json!({ "ssm_multipliers": [1.0] }), Malformed, ["ssm_multipliers", "5 numbers"]),
        (json!({ "mlp_multipliers": [1.0, 0.0] }), Malformed, ["mlp_multipliers", "positive"]),
        (json!({ "key_multiplier": 0.0 }), Malformed, ["key_multiplier", "positive"]),
        (
            json!({ "time_step_limit": [0.0, 1.0] }),
            UnsupportedFormat,
            ["time_step_limit", "Infinity"],
        ),
    ] {
        refused(with_config("falcon_h1-plain", &changes), code, &words);
    }
}

/// Encoders and decision models have the same layers and another purpose.
#[test]
fn lfm2_files_that_generate_no_text_are_refused() {
    let with_key = |added: Gguf| {
        let mut parts = Parts::split(&read(cache::tiny("lfm2-types.gguf")));
        let (key, value) = added.keys[0].clone();
        parts.keys.push((String::from_utf8(key).unwrap(), value));
        logits(&[("m.gguf", parts.with(usize::MAX, &[]))])
    };
    let code = Code::UnsupportedFormat;
    let causal = Gguf::new().bool("lfm2.attention.causal", false);
    refused(with_key(causal), code, &["lfm2.attention.causal", "false"]);
    let blocks = Gguf::new().u32("lfm2.decision.block_count", 2);
    refused(with_key(blocks), code, &["lfm2.decision.block_count", "2"]);
    // A window changes the logits of all attention layers, if it is short enough.
    let window = Gguf::new().number("lfm2.attention.sliding_window", kind::U32, &[2, 0, 0, 0]);
    let plain = Gguf::new().bool("lfm2.attention.causal", true);
    assert_ne!(with_key(window).unwrap(), with_key(plain).unwrap());
}
