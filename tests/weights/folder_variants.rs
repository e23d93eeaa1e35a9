//! Safetensors folders with the variations found in practice: indices that decide between shards,
//! unused tensors, and configurations of every transformers version.

use serde_json::{Value, json};
use tablm::Code;
use tablm::cpu::CpuVariant;
use tablm::engine::{DeviceChoice, Engine, LoadOptions};
use tablm::weights::Checkpoint;

use crate::common::gguf::f32_bytes;
use crate::common::safetensors::{Folder, f32_file, file, raw_file};
use crate::common::{cache, files};
use crate::real_files::values;
use crate::{content, open_all, refused};

const BAD: Code = Code::Malformed;
const INDEX: &str = "model.safetensors.index.json";

/// Two shards that both contain `a`, with different values, and an index with this weight map.
pub(crate) fn overlaid(index: Option<Value>) -> Folder {
    let folder = Folder::new(vec![])
        .without("model.safetensors")
        .with("one.safetensors", &f32_file(&[("a", &[2], vec![1.0; 2]), ("b", &[1], vec![3.0])]))
        .with("two.safetensors", &f32_file(&[("a", &[2], vec![2.0; 2]), ("c", &[1], vec![4.0])]));
    match index {
        Some(map) => folder.with(INDEX, json!({ "weight_map": map }).to_string().as_bytes()),
        None => folder,
    }
}

fn open(folder: &Folder) -> tablm::Result<Checkpoint> {
    open_all(folder.sources())
}

#[test]
fn the_index_decides_between_shards() {
    for (shard, value) in [("one.safetensors", 1.0), ("two.safetensors", 2.0)] {
        for shard in [shard.to_owned(), format!("./{shard}"), format!("some/folder/{shard}")] {
            let (one, two) = match value {
                1.0 => (shard.as_str(), "two.safetensors"),
                _ => ("one.safetensors", shard.as_str()),
            };
            let checkpoint =
                open(&overlaid(Some(json!({"a": shard, "b": one, "c": two})))).unwrap();
            assert_eq!(values(&checkpoint, "a", 0, 1), [value; 2], "{shard}");
            assert_eq!(checkpoint.tensors.len(), 3);
        }
    }
    let unnamed = overlaid(Some(json!({"b": "one.safetensors", "c": "two.safetensors"})));
    refused(
        open(&unnamed),
        BAD,
        &["two.safetensors: tensor a: found the tensor in one.safetensors too"],
    );
    refused(open(&overlaid(None)), BAD, &[INDEX, "found nothing, expected the index of 2 shards"]);
    // A third shard that the index does not name is ignored.
    let index = json!({"a": "one.safetensors", "b": "one.safetensors", "c": "two.safetensors"});
    let third = f32_file(&[("a", &[2], vec![9.0; 2]), ("d", &[1], vec![9.0])]);
    let checkpoint =
        open(&overlaid(Some(index.clone())).with("three.safetensors", &third)).unwrap();
    assert_eq!((values(&checkpoint, "a", 0, 1), checkpoint.tensors.len()), (vec![1.0; 2], 3));
    let absent = overlaid(Some(json!({"a": "one.safetensors", "b": "three.safetensors"})));
    refused(open(&absent), BAD, &["three.safetensors", "found only"]);
    // The index is outdated: the model was saved again in a single file.
    let resaved =
        overlaid(Some(json!({"a": "gone.safetensors"}))).with("model.safetensors", &third);
    assert_eq!(open(&resaved).unwrap().tensors.len(), 2);
}

#[test]
fn an_index_must_name_files_inside_its_folder() {
    for path in [
        "../one.safetensors",
        "/one.safetensors",
        "x/../one.safetensors",
        "x\\one.safetensors",
        "",
        ".",
    ] {
        let folder = overlaid(Some(json!({"a": "two.safetensors", "b": path})));
        refused(open(&folder), BAD, &[INDEX, "weight_map: found", "a file below the folder"]);
    }
    let folder = overlaid(Some(json!({"a": "x/one.safetensors", "b": "one.safetensors"})));
    refused(open(&folder), BAD, &["\"one.safetensors\" in two folders"]);
}

/// Names of the tensors that remain after unused ones are omitted.
fn remaining(names: &[&str], dtype: &'static str, config: &Value) -> Vec<String> {
    let bytes = if dtype.ends_with("32") { 4 } else { 1 };
    let tensors: Vec<_> =
        names.iter().map(|name| (*name, dtype, vec![1], vec![0; bytes])).collect();
    let folder = Folder::new(file(&tensors)).with("config.json", config.to_string().as_bytes());
    open(&folder).unwrap().tensors.into_keys().collect()
}

#[test]
fn unused_tensors_are_omitted() {
    let unused = [
        // Scales of activations and caches by compressed-tensors, Quark and vLLM.
        "model.layers.0.self_attn.k_scale",
        "model.layers.0.self_attn.v_scale",
        "model.layers.0.self_attn.q_scale",
        "model.layers.0.self_attn.kv_scale",
        "model.layers.0.self_attn.k_zero_point",
        "model.layers.0.self_attn.v_zero_point",
        "model.layers.0.self_attn.q_zero_point",
        "model.layers.0.self_attn.k_global_scale",
        "model.layers.0.self_attn.attn.k_scale",
        "model.layers.0.self_attn.k_proj.k_scale",
        "model.layers.0.self_attn.v_proj.v_scale",
        "model.layers.0.self_attn.k_proj.output_scale",
        "model.layers.0.self_attn.k_proj.output_zero_point",
        "model.layers.0.self_attn.qkv_proj.kv_scale",
        "model.layers.0.self_attn.prob_output_scale",
        "model.layers.0.self_attn.k_cache.scale",
        "model.layers.0.self_attn.q.scale",
        "backbone.layers.3.mixer.k_proj.k_scale",
        "model.layers.0.mlp.down_proj.input_scale",
        "model.layers.0.mlp.down_proj.input_zero_point",
        "model.layers.0.mlp.down_proj.input_global_scale",
        // Tables and masks of old exports, and other parts of larger models.
        "model.layers.0.self_attn.rotary_emb.inv_freq",
        "model.rotary_emb.original_inv_freq",
        "model.layers.0.self_attn.rotary_emb.cos_cached",
        "model.embeddings.position_ids",
        "model.layers.0.attn.masked_bias",
        "vision_tower.encoder.layers.0.weight",
        "model.vision_tower.patch.weight",
        "model.visual.blocks.0.attn.qkv.weight",
        "multi_modal_projector.linear.weight",
        "mtp.layers.0.eh_proj.weight",
    ];
    for dtype in ["F32", "I8", "F8_E4M3", "U8", "I32"] {
        assert_eq!(remaining(&unused, dtype, &json!({})), [""; 0], "{dtype}");
    }
    let needed = [
        "a.weight",
        "a.bias",
        "model.layers.0.mlp.down_proj.scale",
        "model.layers.0.visual.weight",
        "model.layers.0.mlp.gate_up_proj.lora_A.weight",
        "score.weight",
    ];
    let mut sorted = needed.map(str::to_owned);
    sorted.sort();
    assert_eq!(remaining(&needed, "F32", &json!({})), sorted);
}

#[test]
fn zero_points_of_symmetric_weights_are_omitted() {
    let names = ["a.weight", "a.weight_scale", "a.weight_zero_point"];
    let open = |weights: Value| {
        let tensors = [("F8_E4M3", 6), ("F32", 4), ("F8_E4M3", 1)];
        let tensors: Vec<_> = names
            .iter()
            .zip(tensors)
            .map(|(name, (dtype, bytes))| {
                (*name, dtype, vec![if bytes == 6 { 6 } else { 1 }], vec![0; bytes])
            })
            .collect();
        let config =
            json!({"quantization_config": {"config_groups": {"group_0": {"weights": weights}}}});
        let folder = Folder::new(file(&tensors)).with("config.json", config.to_string().as_bytes());
        open_all(folder.sources())
    };
    for weights in [json!({"symmetric": true}), json!({"num_bits": 8})] {
        assert_eq!(open(weights).unwrap().tensors.into_keys().collect::<Vec<_>>(), ["a.weight"]);
    }
    refused(open(json!({"symmetric": false})), Code::MissingTensors, &["a.weight_zero_point"]);
}

#[test]
fn empty_tensors_are_omitted() {
    for (dtype, shape) in
        [("F32", vec![0]), ("F8_E4M3", vec![0]), ("I32", vec![4, 0, 2]), ("U8", vec![0, 8])]
    {
        let tensors = [
            ("empty", dtype, shape, vec![]),
            ("w", "F32", vec![1], f32_bytes([1.0])),
            ("x", dtype, vec![0], vec![]),
        ];
        let checkpoint = open(&Folder::new(file(&tensors))).unwrap();
        assert_eq!(checkpoint.tensors.keys().collect::<Vec<_>>(), ["w"]);
    }
}

fn logits(folder: &Folder) -> tablm::Result<Vec<f32>> {
    let options = LoadOptions {
        device: DeviceChoice::Cpu,
        cpu_variant: Some(CpuVariant::Exact),
        ..LoadOptions::default()
    };
    pollster::block_on(async {
        let mut engine = Engine::load(folder.sources(), &options, &mut |_| {}).await?;
        engine.logits(&(0..50).map(|i| i * 7 % 250).collect::<Vec<_>>()).await
    })
}

/// A model of `make_tiny.py`.
pub(crate) fn tiny(name: &str) -> Folder {
    let read = |file: &str| files::read(cache::tiny(name).join(file));
    let files = ["config.json", "tokenizer.json", "model.safetensors"];
    Folder(files.iter().map(|file| ((*file).to_owned(), read(file))).collect())
}

fn config(folder: &Folder) -> Value {
    // `Infinity` is the only non-finite number in these configurations.
    let text = str::from_utf8(content(folder, "config.json")).unwrap();
    serde_json::from_str(&text.replace(" Infinity", "{\"__float__\": \"Infinity\"}")).unwrap()
}

/// The configurations were made by `make_resaved.py`.
#[test]
fn models_saved_again_by_transformers_have_the_same_logits() {
    let resaved: Value = serde_json::from_str(include_str!("../data/tiny/resaved.json")).unwrap();
    for (name, config) in resaved.as_object().unwrap() {
        assert!(config["transformers_version"].as_str().unwrap().starts_with("5."));
        let old = tiny(name);
        let new = old.clone().with("config.json", config.to_string().as_bytes());
        assert_eq!(logits(&new).unwrap(), logits(&old).unwrap(), "{name}");
    }
}

/// Multimodal checkpoints keep the text model's configuration in `text_config`, and its tensors
/// under a prefix.
#[test]
fn text_models_of_multimodal_checkpoints_have_the_same_logits() {
    for name in ["mistral3-untied", "gemma3-scaled", "phi3-window"] {
        let folder = tiny(name);
        let expected = logits(&folder).unwrap();
        let mut text = config(&folder);
        text["architectures"] = Value::Null;
        let nested = json!({
            "architectures": ["SomethingForConditionalGeneration"],
            "model_type": "something",
            "text_config": text,
            "vision_config": {"hidden_size": 8},
        });
        let prefixes = [
            ("model.language_model.", "lm_head."),
            ("language_model.model.", "language_model.lm_head."),
        ];
        for (model, head) in prefixes {
            let weights = content(&folder, "model.safetensors");
            let length = u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
            let header = str::from_utf8(&weights[8..8 + length]).unwrap();
            let header = header.replace("\"model.", &format!("\"{model}"));
            let header = header.replace("\"lm_head.", &format!("\"{head}"));
            let vision = ",\"model.vision_tower.x\":{\"dtype\":\"F32\",\"shape\":[0],\
                          \"data_offsets\":[0,0]}}";
            let header = format!("{}{vision}", header.trim_end().strip_suffix('}').unwrap());
            let file = raw_file(&header, &weights[8 + length..]);
            let found = folder.clone().with("model.safetensors", &file);
            let found = found.with("config.json", nested.to_string().as_bytes());
            assert_eq!(logits(&found).unwrap(), expected, "{name}, {model}");
        }
    }
}

#[test]
fn model_type_decides_without_architectures() {
    for name in [
        "llama-tied",
        "qwen2-tied",
        "gemma2-window",
        "gemma3-scaled",
        "phi-partial",
        "nemotron_h-odd",
    ] {
        let folder = tiny(name);
        let expected = logits(&folder).unwrap();
        for architectures in [Value::Null, json!([])] {
            let mut config = config(&folder);
            config["architectures"] = architectures;
            let config = config.to_string();
            assert_eq!(
                logits(&folder.clone().with("config.json", config.as_bytes())).unwrap(),
                expected,
                "{name}"
            );
        }
    }
    let unknown = |config: Value| {
        let folder = tiny("llama-tied").with("config.json", config.to_string().as_bytes());
        refused(
            logits(&folder),
            Code::UnknownArchitecture,
            &["config.json: model_type: found", "nemotron_h, olmo2, phi"],
        );
    };
    unknown(json!({"model_type": "mamba"}));
    unknown(json!({}));
    unknown(json!({"model_type": 7, "architectures": 7}));
}

/// Python writes `NaN` and `Infinity`; here in fields that are not read.
#[test]
fn a_tokenizer_json_may_contain_non_finite_numbers() {
    let folder = tiny("llama-tied");
    let text = str::from_utf8(content(&folder, "tokenizer.json")).unwrap();
    let text = text.replacen(
        '{',
        "{\"trainer\": {\"loss\": NaN, \"limits\": [-Infinity, Infinity], \"of\": \"NaN\"}, ",
        1,
    );
    let with = |text: &str| folder.clone().with("tokenizer.json", text.as_bytes());
    assert_eq!(logits(&with(&text)).unwrap(), logits(&folder).unwrap());
    let broken = text.replacen("NaN", "Nan", 1);
    refused(logits(&with(&broken)), BAD, &["tokenizer.json: JSON", "column"]);
}

/// If a configuration states RoPE parameters twice, transformers uses the group, which may be one
/// for each layer type.
#[test]
fn rope_parameters_may_be_grouped() {
    let folder = tiny("qwen2-untied");
    let expected = logits(&folder).unwrap();
    let found = |changes: Value| {
        let mut config = config(&folder);
        config.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        logits(&folder.clone().with("config.json", config.to_string().as_bytes())).unwrap()
    };
    let group = json!({"rope_theta": 1e6, "rope_type": "default"});
    assert_eq!(found(json!({"rope_parameters": group, "rope_theta": 500.0})), expected);
    assert_eq!(found(json!({"rope_parameters": {"full_attention": group}})), expected);
    assert_ne!(found(json!({"rope_parameters": null, "rope_theta": 500.0})), expected);
}
