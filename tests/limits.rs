//! Model files with arbitrary numbers: each is run or refused with a clear error, within limits of
//! time and memory. The tests replace every number in the metadata of every architecture, in GGUF
//! files and in `config.json`, and plan models of extreme sizes.
#![cfg_attr(
    target_arch = "wasm32",
    feature(custom_test_frameworks, test),
    test_runner(common::wasm::register)
)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::rc::Rc;
use std::time::Duration;

use common::engines::greedy;
use common::files::read;
use common::gguf::{Gguf, array, f32_bytes, kind, tiny_llama};
use common::gguf_parts::{Parts, integer};
use common::nemotron_h::tiny_nemotron_h;
use common::{assert_contains, cache};
use serde_json::{Value, json};
use tablm::engine::{
    DeviceChoice, Engine, Estimate, GenerateRequest, LoadOptions, Prompt, estimate, plans,
};
use tablm::error::{Code, Error};
use tablm::formats::Format;
use tablm::kernels::Kernel;
use tablm::sampling::SamplerOptions;
use tablm::weights::source::{ByteSource, MemorySource};
use web_time::Instant;

/// A tiny model of tests/data/tiny for each architecture.
const MODELS: [&str; 19] = [
    "ernie4_5-tied",
    "exaone4-plain",
    "falcon_h1-plain",
    "gemma2-window",
    "gemma3-pattern",
    "granite-tied",
    "granitehybrid-hub",
    "hunyuan-tied",
    "lfm2-indices",
    "lfm3-pattern",
    "llama-tied",
    "mistral3-tied",
    "nemotron_h-g8x1",
    "olmo3-yarn",
    "phi-partial",
    "phi3-partial",
    "qwen2-tied",
    "qwen3-tied",
    "smollm3-default",
];
/// Limit of the time to estimate, load and run a file.
const MAX_TIME: Duration = Duration::from_secs(10);
/// Limit of the memory of this test program.
const MAX_MEMORY_KIB: u64 = 1 << 20;

/// Integers at the edges of integer types and of the accepted ranges.
const COUNTS: [i128; 14] = [
    0,
    1,
    3,
    -1,
    (1 << 16) - 1,
    (1 << 16) + 1,
    1 << 20,
    (1 << 20) + 1,
    (1 << 30) - 1,
    1 << 31,
    (1 << 32) - 1,
    (1 << 32) + 1,
    1 << 63,
    (1 << 64) - 1,
];
/// Floating-point numbers at the edges of `f32` and `f64`.
const NUMBERS: [f64; 11] =
    [0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, 1e-300, 1e38, 1e300, f64::INFINITY, f64::NAN];

/// Peak memory of this program in KiB; 0 if the system does not report it.
#[cfg(target_arch = "wasm32")]
fn peak_kib() -> u64 {
    64 * core::arch::wasm32::memory_size(0) as u64
}

#[cfg(not(target_arch = "wasm32"))]
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or(0, |line| line.trim().trim_end_matches(" kB").parse().unwrap())
}

type Files = Vec<(String, Vec<u8>)>;

fn sources(files: &Files) -> Vec<Rc<dyn ByteSource>> {
    files
        .iter()
        .map(|(name, bytes)| Rc::new(MemorySource::new(name, bytes.clone())) as Rc<_>)
        .collect()
}

fn headers_of(files: &Files) -> Result<Estimate, Error> {
    pollster::block_on(estimate(sources(files), &LoadOptions::default(), None))
}

/// Estimates, loads and runs a model; returns true if all succeeded. Checks the time taken, and
/// that an error is not internal and has a message of bounded length.
fn runs(what: &str, files: &Files) -> bool {
    let started = Instant::now();
    let run = async || -> Result<(), Error> {
        let options = LoadOptions { device: DeviceChoice::Cpu, ..LoadOptions::default() };
        estimate(sources(files), &options, None).await?;
        let mut engine = Engine::load(sources(files), &options, &mut |_| {}).await?;
        engine.logits(&[0, 0, 0]).await?;
        Ok(())
    };
    let result = pollster::block_on(run());
    if let Err(error) = &result {
        assert_ne!(error.code(), Code::Internal, "{what}: {error}");
        let length = error.message().len();
        assert!(length < 20_000, "{what}: {length} bytes of message");
    }
    assert!(started.elapsed() < MAX_TIME, "{what}: {:?}", started.elapsed());
    result.is_ok()
}

/// Checks that a model runs unchanged, and that some but not all of its described variants run, all
/// within the limits of time and memory.
fn check_variants(model: &str, unchanged: &Files, variants: impl Iterator<Item = (String, Files)>) {
    assert!(runs(model, unchanged), "{model} unchanged");
    let (mut tried, mut ran) = (0, 0);
    for (change, files) in variants {
        ran += usize::from(runs(&format!("{model}: {change}"), &files));
        tried += 1;
    }
    println!("{model}: {ran} of {tried} variants run, peak memory {} KiB", peak_kib());
    assert!(tried > 100 && ran > 0 && ran < tried, "{model}: {ran} of {tried} variants run");
    assert!(peak_kib() < MAX_MEMORY_KIB, "{model}: {} KiB", peak_kib());
}

/// Values of extreme size in place of a value: scalars for a scalar, arrays for an array.
fn extreme_values(original: &[u8]) -> Vec<Vec<u8>> {
    let scalar = |kind: u32, bytes: &[u8]| [&kind.to_le_bytes(), bytes].concat();
    let scalar_count = |count: &i128| match u64::try_from(*count) {
        Ok(count) => scalar(kind::U64, &count.to_le_bytes()),
        Err(_) => scalar(kind::I64, &(*count as i64).to_le_bytes()),
    };
    match integer(original, 0, 4) as u32 {
        kind::F32 | kind::F64 => {
            NUMBERS.iter().map(|value| scalar(kind::F64, &value.to_le_bytes())).collect()
        }
        kind::ARRAY => {
            let length = integer(original, 8, 8) as u64;
            let repeated = |count: u64, length: u64| {
                array(kind::U64, length, &count.to_le_bytes().repeat(length as usize))
            };
            let counts = COUNTS.iter().filter_map(|count| u64::try_from(*count).ok());
            let same_length = counts.map(|count| repeated(count, length));
            let other_lengths = [0, length + 1, 2_000_000].map(|length| repeated(1, length));
            same_length.chain(other_lengths).collect()
        }
        kind::BOOL | kind::STRING => Vec::new(),
        _ => COUNTS.iter().map(scalar_count).collect(),
    }
}

#[test]
fn gguf_with_any_number_runs_or_is_refused() {
    for model in MODELS {
        let parts = &Parts::split(&read(cache::tiny(&format!("{model}.gguf"))));
        let file = |bytes: Vec<u8>| -> Files { vec![("m.gguf".to_owned(), bytes)] };
        let keys = parts.keys.iter().enumerate();
        let keys = keys.filter(|(_, (key, _))| !key.starts_with("tokenizer."));
        let variants = keys.flat_map(|(index, (key, original))| {
            extreme_values(original).into_iter().map(move |value| {
                let change = format!("{key}: {:x?}", &value[..value.len().min(40)]);
                (change, file(parts.with(index, &value)))
            })
        });
        check_variants(model, &file(parts.with(usize::MAX, &[])), variants);
    }
}

/// Collects the JSON pointers of all numbers in a value.
fn find_numbers(value: &Value, pointer: &str, found: &mut Vec<String>) {
    match value {
        Value::Number(_) => found.push(pointer.to_owned()),
        Value::Object(fields) => {
            for (field, value) in fields {
                find_numbers(value, &format!("{pointer}/{field}"), found);
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                find_numbers(value, &format!("{pointer}/{index}"), found);
            }
        }
        _ => {}
    }
}

/// JSON texts in place of a number: extreme numbers as Python writes them, and other types.
fn json_texts() -> Vec<String> {
    let counts = COUNTS.iter().map(i128::to_string);
    let numbers = NUMBERS.iter().map(|number| match number {
        number if number.is_nan() => "NaN".to_owned(),
        number if number.is_infinite() => "Infinity".to_owned(),
        number => format!("{number:e}"),
    });
    let others = ["\"8\"", "[]", "[1]", "{}", "true", "1e400"].map(str::to_owned);
    counts.chain(numbers).chain(others).collect()
}

#[test]
fn config_json_with_any_number_runs_or_is_refused() {
    const QUOTED: &str = "\"infinite\"";
    for model in MODELS {
        let read = |name: &str| read(cache::tiny(model).join(name));
        let files = |config: String| -> Files {
            let config = config.replace("\"Infinity\"", "Infinity").replace(QUOTED, "\"Infinity\"");
            let config = config.into_bytes();
            let others = ["model.safetensors", "tokenizer.json"];
            let others = others.map(|name| (name.to_owned(), read(name)));
            others.into_iter().chain([("config.json".to_owned(), config)]).collect()
        };
        // serde_json does not parse Infinity: it is a string until the file is written. What is a
        // string in the file has another name until then.
        let config = String::from_utf8(read("config.json")).unwrap();
        let config = config.replace("\"Infinity\"", QUOTED).replace("Infinity", "\"Infinity\"");
        let config: Value = serde_json::from_str(&config).unwrap();
        let mut pointers = Vec::new();
        find_numbers(&config, "", &mut pointers);
        let with = |pointer: &str, text: &str| {
            let mut changed = config.clone();
            *changed.pointer_mut(pointer).unwrap() = json!("REPLACED");
            files(changed.to_string().replace("\"REPLACED\"", text))
        };
        let variants = pointers.iter().flat_map(|pointer| {
            let texts = json_texts().into_iter();
            texts.map(move |text| (format!("{pointer}: {text}"), with(pointer, &text)))
        });
        check_variants(model, &files(config.to_string()), variants);
    }
}

// ------------------------------------------- extreme sizes with tensors of matching shapes

/// Header of a llama of `layers` layers with F16 tensors of matching shapes; no tensor data.
/// `heads` are query heads, key/value heads and the head size.
fn llama_header(
    layers: u32,
    hidden: usize,
    heads: [usize; 3],
    ffn: usize,
    vocabulary: usize,
) -> Gguf {
    let [head_count, kv_heads, head_dim] = heads;
    let mut model = tiny_llama(64, Format::F16);
    for key in [
        "attention.head_count",
        "attention.head_count_kv",
        "block_count",
        "context_length",
        "embedding_length",
        "feed_forward_length",
        "rope.dimension_count",
        "vocab_size",
    ] {
        model = model.without_key(&format!("llama.{key}"));
    }
    model.tensors.clear();
    model = model
        .u32("llama.block_count", layers)
        .u32("llama.embedding_length", hidden as u32)
        .u32("llama.feed_forward_length", ffn as u32)
        .u32("llama.attention.head_count", head_count as u32)
        .u32("llama.attention.head_count_kv", kv_heads as u32)
        .u32("llama.attention.key_length", head_dim as u32)
        .u32("llama.vocab_size", vocabulary as u32)
        .u32("llama.context_length", (1 << 30) - 1);
    let (q, kv, f16) =
        (head_count * head_dim, kv_heads * head_dim, Format::F16.gguf_type().unwrap());
    let mut offset = 0;
    let mut add = |name: String, shape: &[usize]| {
        let axes: Vec<u64> = shape.iter().rev().map(|axis| *axis as u64).collect();
        let size_bytes = 2 * axes.iter().product::<u64>();
        model.tensors.push(common::gguf::Tensor {
            name: name.into_bytes(),
            axes,
            type_number: f16,
            offset: Some(offset),
            data: Vec::new(),
        });
        offset += size_bytes.next_multiple_of(32);
    };
    add("token_embd.weight".into(), &[vocabulary, hidden]);
    add("output_norm.weight".into(), &[hidden]);
    for layer in 0..layers {
        for (part, shape) in [
            ("attn_norm", vec![hidden]),
            ("ffn_norm", vec![hidden]),
            ("attn_q", vec![q, hidden]),
            ("attn_k", vec![kv, hidden]),
            ("attn_v", vec![kv, hidden]),
            ("attn_output", vec![hidden, q]),
            ("ffn_gate", vec![ffn, hidden]),
            ("ffn_up", vec![ffn, hidden]),
            ("ffn_down", vec![hidden, ffn]),
        ] {
            add(format!("blk.{layer}.{part}.weight"), &shape);
        }
    }
    model
}

fn file(model: &Gguf) -> Files {
    vec![("m.gguf".to_owned(), model.bytes())]
}

/// Bytes of memory that a model of these tensors may take.
fn allowed_bytes(found: &Estimate) -> u64 {
    4 * found.tensors.iter().map(|tensor| tensor.size_bytes).sum::<u64>() + (512 << 20)
}

#[test]
fn plan_of_1024_layers_takes_seconds_and_more_are_refused() {
    let started = Instant::now();
    let found = headers_of(&file(&llama_header(1024, 32, [1, 1, 4], 32, 260))).unwrap();
    let took = started.elapsed();
    println!("{} tensors in {took:?}", found.tensors.len());
    assert_eq!(found.tensors.len(), 2 + 9 * 1024);
    assert!(took < MAX_TIME, "{took:?}");
    let error = headers_of(&file(&llama_header(1025, 32, [1, 1, 4], 32, 260))).unwrap_err();
    assert_contains(error.message(), &["block_count: found 1025, expected 1 to 1024"]);
}

/// Needs a 64-bit address space: the matrix takes 512 GiB.
#[cfg(not(target_arch = "wasm32"))]
#[test]
fn wide_matrix_is_split_into_few_parts() {
    // 2^18 rows of 2 MiB.
    let model = llama_header(1, 1 << 20, [1, 1, 4], 32, 1 << 18);
    let started = Instant::now();
    let found = headers_of(&file(&model)).unwrap();
    // A binding of 64 rows, and one of half a row.
    for max_binding_bytes in [128 << 20, 1 << 20] {
        let options = LoadOptions::default();
        let planned = plans(sources(&file(&model)), &options, max_binding_bytes);
        let planned = pollster::block_on(planned).unwrap();
        let kernels = planned[0].kernels.iter().map(|planned| &planned.kernel);
        let parts: Vec<_> = kernels.filter(|kernel| matches!(kernel, Kernel::Embed(_))).collect();
        assert!((2..=256).contains(&parts.len()), "{} parts", parts.len());
        let rows = parts.iter().map(|part| u64::from(part.matrix().unwrap().rows)).sum::<u64>();
        assert_eq!(rows, 1 << 18);
    }
    assert!(started.elapsed() < MAX_TIME, "{:?}", started.elapsed());
    // The estimate reports a buffer that no binding holds.
    assert!(found.largest_buffer_bytes > 128 << 20, "{}", found.largest_buffer_bytes);
}

#[test]
fn small_file_that_needs_much_memory_is_refused() {
    let refused = |model: &Gguf| {
        let error = headers_of(&file(model)).expect_err("an error");
        assert_eq!(error.code(), Code::UnsupportedFormat, "{error}");
        assert_contains(error.message(), &["bytes of memory", "of weights"]);
    };
    // Rows of one weight, each padded to a unit.
    refused(&llama_header(30, 1, [1, 1, 4], 1 << 20, 260));
    // A recurrent state that is much larger than the weights.
    let mut model = tiny_nemotron_h(&"M".repeat(40));
    let [heads, head_dim, groups, state] = [1 << 11, 128, 1, 256];
    for key in [
        "time_step_rank",
        "inner_size",
        "group_count",
        "state_size",
        "vocab_size",
        "embedding_length",
    ] {
        model.keys.retain(|(own, _)| !own.ends_with(key.as_bytes()));
    }
    model = model
        .u32("nemotron_h.embedding_length", 1)
        .u32("nemotron_h.vocab_size", 260)
        .u32("nemotron_h.ssm.time_step_rank", heads)
        .u32("nemotron_h.ssm.inner_size", heads * head_dim)
        .u32("nemotron_h.ssm.group_count", groups)
        .u32("nemotron_h.ssm.state_size", state);
    let (inner, channels) =
        (u64::from(heads * head_dim), u64::from(heads * head_dim + 2 * groups * state));
    let mut offset = 0;
    for tensor in &mut model.tensors {
        let name = String::from_utf8(tensor.name.clone()).unwrap();
        tensor.axes = match name
            .rsplit_once('.')
            .map_or(&*name, |_| name.split('.').rev().nth(1).unwrap())
        {
            "ssm_in" => vec![1, inner + channels + u64::from(heads)],
            "ssm_conv1d" if name.ends_with("bias") => vec![channels],
            "ssm_conv1d" => vec![4, channels],
            "ssm_dt" => vec![u64::from(heads)],
            "ssm_norm" => vec![inner],
            "ssm_out" => vec![inner, 1],
            "token_embd" | "output" => vec![1, 260],
            _ if name.ends_with("ssm_a") || name.ends_with("ssm_d") => vec![1, u64::from(heads)],
            _ => vec![1],
        };
        (tensor.offset, tensor.data) = (Some(offset), Vec::new());
        offset += (4 * tensor.axes.iter().product::<u64>()).next_multiple_of(32);
    }
    refused(&model);
}

#[test]
fn default_context_length_is_reduced_for_large_caches() {
    // 1 MiB of keys and values per position in the default format.
    let wide = llama_header(1, 1, [1024, 1024, 256], 32, 260);
    let found = headers_of(&file(&wide)).unwrap();
    assert_eq!(found.max_context_length, (1 << 30) - 1);
    assert!((1..1024).contains(&found.context_length), "{}", found.context_length);
    assert!(found.cpu_memory.peak_cpu_bytes <= allowed_bytes(&found), "{:?}", found.cpu_memory);
    // A requested context length is planned as it is.
    let options = LoadOptions { context_length: Some(4096), ..LoadOptions::default() };
    let requested = pollster::block_on(estimate(sources(&file(&wide)), &options, None)).unwrap();
    assert_eq!(requested.context_length, 4096);
    // A model of ordinary proportions gets the full default.
    let plain = headers_of(&file(&llama_header(2, 64, [4, 2, 16], 128, 260))).unwrap();
    assert_eq!(plain.context_length, 4096);
}

#[test]
fn chunk_has_fewer_rows_for_wide_models() {
    let rows = |model: &Gguf, chunk: Option<u32>| {
        let options = LoadOptions { chunk, ..LoadOptions::default() };
        pollster::block_on(plans(sources(&file(model)), &options, u64::MAX)).unwrap()[1].capacity
    };
    assert_eq!(rows(&tiny_llama(64, Format::F16), None), 64);
    let wide = llama_header(1, 32, [1, 1, 4], 1 << 20, 260);
    assert_eq!((rows(&wide, None), rows(&wide, Some(4096))), (16, 16));
}

#[test]
fn non_finite_logits_and_zero_divisors_are_malformed_files() {
    for value in [f32::MAX, -f32::MAX] {
        let huge = tiny_llama(64, Format::F32).change("output_norm.weight", |tensor| {
            tensor.data = f32_bytes(vec![value; 64]);
        });
        let run = async || -> Result<(), Error> {
            let options = LoadOptions { device: DeviceChoice::Cpu, ..LoadOptions::default() };
            let mut engine = Engine::load(sources(&file(&huge)), &options, &mut |_| {}).await?;
            let sampling = SamplerOptions::default();
            let greedy = greedy(Prompt::Tokens(vec![1, 2, 3]), 2);
            let request = GenerateRequest { sampling, ..greedy };
            engine.generate(&request, |_| {}).await.map(|_| ())
        };
        let error = pollster::block_on(run()).expect_err("an error");
        assert_eq!(error.code(), Code::Malformed, "{error}");
        assert_contains(error.message(), &["logit"]);
    }
    let divisors = f32_bytes([0.0; 8]);
    let zero = tiny_llama(64, Format::F32).tensor("rope_freqs.weight", Format::F32, &[8], divisors);
    let options = LoadOptions { device: DeviceChoice::Cpu, ..LoadOptions::default() };
    let loaded = pollster::block_on(Engine::load(sources(&file(&zero)), &options, &mut |_| {}));
    let error = loaded.err().expect("an error");
    assert_eq!(error.code(), Code::Malformed, "{error}");
    assert_contains(error.message(), &["rope_freqs.weight"]);
}
