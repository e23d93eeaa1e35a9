//! Tiny random models: equal logits on all devices in every weight format, estimates, and refusals
//! of invalid and unsupported configurations.
#![cfg_attr(
    target_arch = "wasm32",
    feature(custom_test_frameworks, test),
    test_runner(common::wasm::register)
)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::cell::Cell;
use std::rc::Rc;

use common::engines::{devices, has_gpu, load_gguf, sources};
use common::gguf::{Gguf, array, f32_bytes, formats, kind, tiny_llama};
use common::nemotron_h::tiny_nemotron_h;
use common::safetensors::{Folder, f32_file};
use common::{assert_contains, cache};
use serde_json::{Value, json};
use tablm::cpu::CpuVariant;
use tablm::engine::{
    CompileAhead, DeviceChoice, Engine, HostServices, LoadOptions, estimate, normalized_error,
    prepare,
};
use tablm::error::{Code, Error};
use tablm::formats::Format;
use tablm::kernels::CacheFormat;
use tablm::weights::source::{ByteSource, MemorySource};

/// Logits after 77 tokens.
async fn logits(model: &Gguf, device: DeviceChoice) -> Vec<f32> {
    let tokens: Vec<u32> = (0..77).map(|i| (i * 29 + 3) % 250).collect();
    // An F16 cache could round values that differ in the last bit of f32 to different numbers.
    let (kv_format, cpu_variant) = (Some(CacheFormat::F32), Some(CpuVariant::Exact));
    let options = LoadOptions { device, kv_format, cpu_variant, ..LoadOptions::default() };
    load_gguf(model, &options).await.logits(&tokens).await.unwrap()
}

/// Checks that all devices compute the same logits; returns them.
async fn check_devices(name: &str, model: &Gguf) -> Vec<f32> {
    let expected = logits(model, DeviceChoice::Cpu).await;
    assert!(expected.iter().all(|logit| logit.is_finite()) && expected[0] != expected[1], "{name}");
    for device in devices().await {
        let error = normalized_error(&expected, &logits(model, device).await);
        assert!(error < 1e-10, "{name} on {device:?}: {error:e}");
    }
    expected
}

/// Checks that a load fails with an error code and a message that contains all `words`.
#[track_caller]
fn refused(model: &Gguf, code: Code, words: &[&str]) {
    let options = LoadOptions { device: DeviceChoice::Cpu, ..LoadOptions::default() };
    let loaded = pollster::block_on(Engine::load(sources(model), &options, &mut |_| {}));
    check_error(&loaded.err().expect("an error"), code, words);
}

#[track_caller]
fn check_error(error: &Error, code: Code, words: &[&str]) {
    assert_eq!(error.code(), code, "{error}");
    assert_contains(error.message(), words);
}

#[test]
fn pipelines_are_announced_before_weights_are_read() {
    pollster::block_on(async {
        if !has_gpu().await {
            return;
        }
        let announced = Rc::new(Cell::new(0));
        let count = announced.clone();
        let compile_ahead = CompileAhead(Rc::new(move |pipelines| {
            count.set(count.get() + pipelines.len());
            Box::pin(std::future::ready(()))
        }));
        let options = LoadOptions {
            device: DeviceChoice::WebGpu,
            host: HostServices { compile_ahead: Some(compile_ahead), ..HostServices::default() },
            ..LoadOptions::default()
        };
        let mut at_first_progress = None;
        let model = sources(&tiny_llama(64, Format::Q4_0));
        let mut progress = |_| {
            at_first_progress.get_or_insert(announced.get());
        };
        let info = Engine::load(model, &options, &mut progress).await.unwrap().info();
        assert_eq!(at_first_progress, Some(info.pipelines));
        assert_eq!(announced.get(), info.pipelines);
    });
}

#[test]
fn load_prepared_from_headers_gives_the_same_logits() {
    pollster::block_on(async {
        let bytes = tiny_llama(64, Format::Q4_0).bytes();
        for device in devices().await {
            let options = LoadOptions { device, ..LoadOptions::default() };
            let source = |bytes: &[u8]| -> Vec<Rc<dyn ByteSource>> {
                vec![Rc::new(MemorySource::new("tiny.gguf", bytes))]
            };
            // As during a download: the last weights are missing.
            let partial = source(&bytes[..bytes.len() - 1000]);
            let prepared = Some(prepare(partial, &options).await.unwrap());
            let loaded =
                Engine::load_prepared(source(&bytes), &options, prepared, &mut |_| {}).await;
            let mut found = loaded.unwrap();
            let loaded = Engine::load(source(&bytes), &options, &mut |_| {}).await;
            let mut expected = loaded.unwrap();
            assert_eq!(found.info().device.backend, expected.info().device.backend);
            let expected = expected.logits(&[1, 2, 3]).await.unwrap();
            assert_eq!(found.logits(&[1, 2, 3]).await.unwrap(), expected);
        }
    });
}

#[test]
fn devices_agree_on_llama_in_every_format() {
    pollster::block_on(async {
        for format in formats() {
            let hidden = format.rules().block_weights().max(64);
            check_devices(format.name(), &tiny_llama(hidden, format)).await;
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
            for (part, rows, columns) in [
                ("attn_q", 128, 64),
                ("attn_k", 64, 64),
                ("attn_v", 64, 64),
                ("attn_output", 64, 128),
            ] {
                let name = format!("blk.{layer}.{part}.weight");
                let values = (0..rows * columns).map(|i| ((i * 31 % 97) as f32 - 48.0) / 300.0);
                let (shape, data) = ([rows, columns], f32_bytes(values));
                model = model.without(&name).tensor(&name, Format::F32, &shape, data);
            }
        }
        let tied = check_devices("explicit head size", &model).await;
        let values = (0..260 * 64).map(|i| ((i * 17 % 89) as f32 - 44.0) / 100.0);
        let untied = model.tensor("output.weight", Format::F32, &[260, 64], f32_bytes(values));
        assert_ne!(check_devices("untied", &untied).await, tied);
    });
}

#[test]
fn llama_rotary_divisors_are_used_and_checked() {
    pollster::block_on(async {
        let plain = tiny_llama(64, Format::F32);
        let divisors = |values: Vec<f32>| {
            let (shape, data) = ([values.len()], f32_bytes(values));
            tiny_llama(64, Format::F32).tensor("rope_freqs.weight", Format::F32, &shape, data)
        };
        let expected = check_devices("plain", &plain).await;
        assert_eq!(logits(&divisors(vec![1.0; 8]), DeviceChoice::Cpu).await, expected);
        assert_ne!(check_devices("divided", &divisors(vec![8.0; 8])).await, expected);
        let words = ["rope_freqs.weight", "found 6", "expected 8"];
        refused(&divisors(vec![1.0; 6]), Code::Malformed, &words);
    });
}

#[test]
fn invalid_llama_configurations_are_refused() {
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
    let dynamic = tiny().str("llama.rope.scaling.type", "dynamic");
    refused(&dynamic, Code::UnsupportedFormat, &["dynamic", "llama3"]);
    let linear = tiny().str("llama.rope.scaling.type", "linear");
    let scaled = linear.f32("llama.rope.scaling.factor", f32::NAN);
    refused(&scaled, Code::Malformed, &["NaN"]);
    let other = tiny().without_key("general.architecture").str("general.architecture", "mamba");
    refused(&other, Code::UnknownArchitecture, &["mamba", "llama"]);
}

async fn state_bytes(model: &Gguf, kv_format: Option<CacheFormat>) -> u64 {
    let options = LoadOptions { kv_format, ..LoadOptions::default() };
    estimate(sources(model), &options, None).await.unwrap().memory.state_bytes
}

#[test]
fn cache_size_follows_the_cache_format() {
    pollster::block_on(async {
        let model = tiny_llama(64, Format::F32);
        // The default for weights in f32 is F32. A row of keys is 32 values.
        let rows = state_bytes(&model, None).await / 128;
        for (format, row_bytes) in
            [(CacheFormat::F32, 128), (CacheFormat::F16, 64), (CacheFormat::Q8, 36)]
        {
            let found = state_bytes(&model, Some(format)).await;
            assert_eq!(found, rows * row_bytes, "{format:?}");
        }
    });
}

#[test]
fn estimate_equals_the_memory_of_the_loaded_model() {
    pollster::block_on(async {
        let model = tiny_llama(64, Format::Q8_0);
        let found = estimate(sources(&model), &LoadOptions::default(), None).await.unwrap();
        let summary = (found.architecture.as_str(), found.fits, found.tensors.len());
        assert_eq!(summary, ("llama", None, 20));
        assert_eq!(found.memory.state_bytes, state_bytes(&model, Some(CacheFormat::F16)).await);
        for device in devices().await {
            let options = LoadOptions { device, ..LoadOptions::default() };
            let info = load_gguf(&model, &options).await.info();
            assert_eq!(info.memory.state_bytes, found.memory.state_bytes);
            if device == DeviceChoice::WebGpu {
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

/// A GGUF file may name one activation function, of a model that has two.
#[test]
fn nemotron_h_files_that_name_an_activation_function_load() {
    let tiny = tiny_nemotron_h("M*-").str("nemotron_h.activation_function", "relu2");
    let options = LoadOptions { device: DeviceChoice::Cpu, ..LoadOptions::default() };
    pollster::block_on(load_gguf(&tiny, &options));
}

#[test]
fn invalid_nemotron_h_files_are_refused() {
    let tiny = || tiny_nemotron_h("M*-");
    let with = |key: &str, value: u32| {
        let key = format!("nemotron_h.{key}");
        tiny().without_key(&key).u32(&key, value)
    };
    refused(&with("ssm.group_count", 4), Code::Malformed, &["4", "divisor of the 6 heads"]);
    refused(&with("ssm.group_count", 0), Code::Malformed, &["ssm.group_count", "0"]);
    refused(&with("ssm.inner_size", 121), Code::Malformed, &["ssm.inner_size", "121", "6 heads"]);
    let words = ["ssm.inner_size", "300", "256"];
    refused(&with("ssm.inner_size", 6 * 300), Code::UnsupportedFormat, &words);
    refused(&with("ssm.time_step_rank", 0), Code::Malformed, &["ssm.time_step_rank"]);
    let words = ["ssm.state_size", "257", "256"];
    refused(&with("ssm.state_size", 257), Code::UnsupportedFormat, &words);
    refused(&with("ssm.state_size", u32::MAX), Code::Malformed, &["ssm.state_size"]);
    let words = ["ssm.conv_kernel", "17", "16"];
    refused(&with("ssm.conv_kernel", 17), Code::UnsupportedFormat, &words);
    refused(&with("ssm.conv_kernel", 3), Code::MissingTensors, &["blk.0.ssm_conv1d.weight", "3]"]);
    refused(&with("block_count", 4), Code::Malformed, &["head_count_kv", "3 counts", "4 layers"]);
    refused(&with("attention.head_count", 3), Code::Malformed, &["2", "divisor of the 3"]);
    refused(&with("attention.value_length", 8), Code::UnsupportedFormat, &["value_length", "16"]);
    let heads = with("ssm.time_step_rank", 1 << 20).without_key("nemotron_h.ssm.inner_size");
    let heads = heads.u32("nemotron_h.ssm.inner_size", 1 << 20);
    refused(&heads, Code::UnsupportedFormat, &["ssm.time_step_rank", "1048576"]);
    let counts = array(kind::U32, 3, &[0xff; 12]);
    let counts = tiny()
        .without_key("nemotron_h.feed_forward_length")
        .raw("nemotron_h.feed_forward_length", counts);
    refused(&counts, Code::Malformed, &["feed_forward_length", "4294967295"]);
    refused(&tiny().without("blk.0.ssm_a"), Code::MissingTensors, &["blk.0.ssm_a", "[6]"]);
    let transposed = tiny().change("blk.0.ssm_conv1d.weight", |tensor| tensor.axes.reverse());
    let words = ["blk.0.ssm_conv1d.weight", "[4, 216]", "[216, 4]"];
    refused(&transposed, Code::MissingTensors, &words);
    let gate = tiny().tensor("blk.2.ffn_gate.weight", Format::F32, &[1, 1], f32_bytes([0.0]));
    refused(&gate, Code::UnsupportedFormat, &["blk.2.ffn_gate.weight"]);
}

/// Changes of `config.json` that are refused: fields, error code, and part of the message.
fn nemotron_h_refusals() -> Vec<(Value, Code, &'static str)> {
    use Code::{Malformed, UnsupportedFormat as Unsupported};
    vec![
        (json!({"attention_bias": true}), Unsupported, "attention_bias"),
        (json!({"mlp_bias": true}), Unsupported, "mlp_bias"),
        (json!({"use_bias": true}), Unsupported, "use_bias"),
        (json!({"mamba_proj_bias": true}), Unsupported, "mamba_proj_bias"),
        (json!({"use_conv_bias": false}), Unsupported, "use_conv_bias"),
        (json!({"mlp_hidden_act": "silu"}), Unsupported, "mlp_hidden_act: found silu"),
        (json!({"mamba_hidden_act": "gelu"}), Unsupported, "mamba_hidden_act"),
        (json!({"sliding_window": 128}), Unsupported, "sliding_window"),
        (
            json!({"time_step_limit": [0.001, "Infinity"]}),
            Unsupported,
            "time_step_limit: found [0.001,",
        ),
        (json!({"time_step_limit": [0.0, 0.1]}), Unsupported, "time_step_limit"),
        (json!({"time_step_limit": [0.0]}), Unsupported, "time_step_limit"),
        (json!({"time_step_limit": 0.1}), Malformed, "time_step_limit"),
        (
            json!({"hybrid_override_pattern": "ME*"}),
            Unsupported,
            "hybrid_override_pattern: found E",
        ),
        (json!({"hybrid_override_pattern": ""}), Malformed, "hybrid_override_pattern: found 0"),
        (json!({"hybrid_override_pattern": "M".repeat(40)}), Malformed, "found 40"),
        (
            json!({"layers_block_type": ["mamba", "moe"]}),
            Unsupported,
            "layers_block_type: found moe",
        ),
        (json!({"layer_types": ["full_attention", 7]}), Malformed, "layer_types"),
        (json!({"num_hidden_layers": 4}), Malformed, "num_hidden_layers: found 4, expected 3"),
        (json!({"intermediate_size": [8, 8]}), Malformed, "intermediate_size: found 2 counts"),
        (json!({"intermediate_size": [8, 8, 0]}), Malformed, "intermediate_size: found 0"),
        (json!({"intermediate_size": [8, 8, "x"]}), Malformed, "intermediate_size"),
        (json!({"num_key_value_heads": 3}), Malformed, "3, expected a divisor of the 4"),
        (json!({"mamba_num_heads": 7}), Malformed, "divisor of the 7 heads"),
        (json!({"mamba_head_dim": 0}), Malformed, "mamba_head_dim"),
        (json!({"hidden_size": 1}), Code::MissingTensors, "backbone.embeddings.weight is missing"),
    ]
}

/// Checks that a configuration is refused after each of the changes.
fn refuse_changes(config: &Value, refusals: Vec<(Value, Code, &str)>) {
    let names: Vec<String> = (0..8).map(|i| format!("unused {i}")).collect();
    let tensors: Vec<_> =
        names.iter().map(|name| (name.as_str(), [1].as_slice(), vec![0.0])).collect();
    let folder = Folder::new(f32_file(&tensors));
    for (changes, code, words) in refusals {
        let mut config = config.clone();
        for (field, value) in changes.as_object().unwrap() {
            config[field] = value.clone();
        }
        let files = folder.clone().with("config.json", config.to_string().as_bytes()).sources();
        let found = pollster::block_on(estimate(files, &LoadOptions::default(), None));
        let error = found.err().unwrap_or_else(|| panic!("{changes} is accepted"));
        check_error(&error, code, &[words]);
    }
}

#[test]
fn unsupported_nemotron_h_configurations_are_refused() {
    let config = json!({
        "architectures": ["NemotronHForCausalLM"], "model_type": "nemotron_h", "vocab_size": 32,
        "hybrid_override_pattern": "M*-", "hidden_size": 48, "intermediate_size": 96,
        "max_position_embeddings": 64, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 16, "mamba_num_heads": 6, "mamba_head_dim": 20, "n_groups": 2,
        "ssm_state_size": 24, "conv_kernel": 4, "time_step_limit": [0.0, "Infinity"],
    });
    refuse_changes(&config, nemotron_h_refusals());
}

#[test]
fn unsupported_configurations_of_other_architectures_are_refused() {
    use Code::{Malformed, MissingTensors, UnsupportedFormat as Unsupported};
    let config = |name: &str| {
        json!({
            "architectures": [name], "vocab_size": 32, "num_hidden_layers": 2, "hidden_size": 48,
            "intermediate_size": 96, "max_position_embeddings": 64, "num_attention_heads": 4,
            "num_key_value_heads": 2, "head_dim": 16, "query_pre_attn_scalar": 16,
            "sliding_window": 8,
        })
    };
    let llama = vec![
        (json!({"hidden_act": "gelu"}), Unsupported, "hidden_act: found gelu"),
        (json!({"rope_scaling": {"rope_type": "dynamic"}}), Unsupported, "dynamic"),
        (json!({"rope_parameters": {"rope_type": "dynamic"}}), Unsupported, "dynamic"),
        (
            json!({"rope_scaling": {"type": "linear", "factor": 0}}),
            Malformed,
            "rope_scaling.factor",
        ),
        (json!({"rope_theta": 1}), Malformed, "rope_theta"),
        (json!({"partial_rotary_factor": 0.01}), Malformed, "partial_rotary_factor: found 0"),
        (json!({"head_dim": 18}), Unsupported, "head_dim: found 18"),
        (
            json!({"attention_bias": true}),
            MissingTensors,
            "layers.0.self_attn.o_proj.bias is missing",
        ),
        (json!({"mlp_bias": true}), MissingTensors, "layers.1.mlp.down_proj.bias is missing"),
        (json!({"tie_word_embeddings": false}), MissingTensors, "lm_head.weight is missing"),
    ];
    refuse_changes(&config("LlamaForCausalLM"), llama);
    let qwen2 = vec![
        (json!({"use_sliding_window": true}), Unsupported, "use_sliding_window: found true"),
        (json!({}), MissingTensors, "layers.0.self_attn.k_proj.bias is missing"),
    ];
    refuse_changes(&config("Qwen2ForCausalLM"), qwen2);
    for name in ["Gemma2ForCausalLM", "Gemma3ForCausalLM"] {
        let gemma = vec![
            (json!({"hidden_activation": "gelu"}), Unsupported, "hidden_activation: found gelu"),
            (
                json!({"use_bidirectional_attention": true}),
                Unsupported,
                "use_bidirectional_attention",
            ),
            (json!({"query_pre_attn_scalar": 0}), Malformed, "query_pre_attn_scalar: found 0"),
            (
                json!({"final_logit_softcapping": -1.0}),
                Malformed,
                "final_logit_softcapping: found -1",
            ),
            (json!({"layer_types": ["full_attention"]}), Malformed, "layer_types: found 1"),
            (json!({"layer_types": ["full_attention", "x"]}), Unsupported, "layer_types: found x"),
            (json!({"layer_types": "x"}), Malformed, "layer_types"),
            (json!({"sliding_window_pattern": 0}), Malformed, "sliding_window_pattern: found 0"),
        ];
        refuse_changes(&config(name), gemma);
    }
    let scaled =
        json!({"rope_parameters": {"sliding_attention": {"rope_type": "linear", "factor": 2}}});
    refuse_changes(
        &config("Gemma3ForCausalLM"),
        vec![(scaled, Unsupported, "sliding_attention.rope_type")],
    );
    let phi = vec![
        (json!({"hidden_act": "gelu"}), Unsupported, "hidden_act: found gelu"),
        (json!({"qk_layernorm": true}), Unsupported, "qk_layernorm"),
        (json!({}), MissingTensors, "lm_head.bias is missing"),
    ];
    refuse_changes(&config("PhiForCausalLM"), phi);
}

/// Field names of other versions of the configuration, and MLX's axis order of the convolution.
#[test]
fn nemotron_h_accepts_other_field_names_and_mlx_axis_order() {
    let path = cache::tiny("nemotron_h-g8x1");
    let read = |name: &str| common::files::read(path.join(name));
    let folder =
        Folder::new(read("model.safetensors")).with("tokenizer.json", &read("tokenizer.json"));
    let config = String::from_utf8(read("config.json")).unwrap();
    let logits = |folder: &Folder, config: &str| {
        let files = folder.clone().with("config.json", config.as_bytes()).sources();
        let options = LoadOptions { device: DeviceChoice::Cpu, ..LoadOptions::default() };
        pollster::block_on(async {
            let mut engine = Engine::load(files, &options, &mut |_| {}).await.unwrap();
            engine.logits(&[3, 1, 4, 1, 5]).await.unwrap()
        })
    };
    let mut renamed = config.clone();
    for (name, other_name) in [
        ("\"n_groups\"", "\"mamba_n_groups\""),
        ("\"conv_kernel\"", "\"mamba_d_conv\""),
        ("\"use_conv_bias\"", "\"mamba_conv_bias\""),
        ("\"time_step_limit\"", "\"mamba_dt_limit\""),
        ("\"head_dim\"", "\"attention_head_dim\""),
        ("\"layer_norm_epsilon\"", "\"norm_eps\""),
        ("\"intermediate_size\": 152", "\"intermediate_size\": [7, 152, 7, 7, 152, 7]"),
    ] {
        assert_contains(&renamed, &[name]);
        renamed = renamed.replace(name, other_name);
    }
    let expected = logits(&folder, &config);
    assert_eq!(logits(&folder, &renamed), expected);
    let mut weights = read("model.safetensors");
    let channels = 8 * 16 + 2 * 8 * 16;
    let (torch, mlx) = (format!("[{channels},1,4]"), format!("[{channels},4,1]"));
    let windows = weights.windows(torch.len()).enumerate();
    let shapes = windows.filter(|(_, window)| *window == torch.as_bytes());
    let offsets: Vec<_> = shapes.map(|(offset, _)| offset).collect();
    assert!(!offsets.is_empty(), "{torch} is not in the header");
    for offset in offsets {
        weights[offset..][..mlx.len()].copy_from_slice(mlx.as_bytes());
    }
    assert_eq!(logits(&folder.with("model.safetensors", &weights), &config), expected);
}
