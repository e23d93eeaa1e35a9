//! Reading, planning and loading of model files with any count or number: they end soon and in
//! little memory, with an answer or a clear error. Every count and number of every architecture is
//! changed, in both kinds of files.
#![cfg_attr(
    target_arch = "wasm32",
    feature(custom_test_frameworks, test),
    test_runner(common::wasm::keep)
)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::rc::Rc;
use std::time::Duration;

use common::cache;
use common::files::read;
use common::gguf::{Gguf, array, f32_bytes, kind, tiny_llama};
use common::gguf_parts::{Parts, number};
use common::nemotron_h::tiny_nemotron_h;
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

/// The tiny models of tests/data/tiny that are changed: one of each architecture.
const MODELS: [&str; 6] = [
    "gemma2-window",
    "gemma3-pattern",
    "llama-tied",
    "nemotron_h-g8x1",
    "phi-partial",
    "qwen2-tied",
];
const TIME: Duration = Duration::from_secs(10);
const MEMORY_KIB: u64 = 1 << 20;

/// Counts as files may state them, each at an edge of some integer type or of what is allowed.
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
const NUMBERS: [f64; 11] =
    [0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, 1e-300, 1e38, 1e300, f64::INFINITY, f64::NAN];

/// The most memory that this program has had at a time, in KiB; none where the system does not say.
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

/// Estimates, loads and runs; what fails must say what is wrong with the file. Whether it ran.
fn try_all(what: &str, files: &Files) -> bool {
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
        assert!(
            error.message().len() < 20_000,
            "{what}: {} bytes of message",
            error.message().len()
        );
    }
    assert!(started.elapsed() < TIME, "{what}: {:?}", started.elapsed());
    result.is_ok()
}

/// Values of a scalar's or a list's kind, at the edges.
fn gguf_values(own: &[u8]) -> Vec<Vec<u8>> {
    let scalar = |kind: u32, bytes: &[u8]| [&kind.to_le_bytes(), bytes].concat();
    let integer = |count: &i128| match u64::try_from(*count) {
        Ok(count) => scalar(kind::U64, &count.to_le_bytes()),
        Err(_) => scalar(kind::I64, &(*count as i64).to_le_bytes()),
    };
    match number(own, 0, 4) as u32 {
        kind::F32 | kind::F64 => {
            NUMBERS.iter().map(|number| scalar(kind::F64, &number.to_le_bytes())).collect()
        }
        kind::ARRAY => {
            let length = number(own, 8, 8) as u64;
            let list = |count: u64, length: u64| {
                array(kind::U64, length, &count.to_le_bytes().repeat(length as usize))
            };
            let counts = COUNTS.iter().filter_map(|count| u64::try_from(*count).ok());
            let lists = counts.map(|count| list(count, length));
            lists.chain([list(1, 0), list(1, length + 1), list(1, 2_000_000)]).collect()
        }
        kind::BOOL | kind::STRING => Vec::new(),
        _ => COUNTS.iter().map(integer).collect(),
    }
}

#[test]
fn every_number_of_every_gguf_architecture_may_be_wrong() {
    for name in MODELS {
        let parts = Parts::of(&read(cache::tiny(&format!("{name}.gguf"))));
        let as_it_is = vec![("m.gguf".to_owned(), parts.with(usize::MAX, &[]))];
        assert!(try_all(name, &as_it_is), "{name} as it is");
        let (mut tried, mut ran) = (0, 0);
        for (index, (key, own)) in parts.keys.iter().enumerate() {
            if key.starts_with("tokenizer.") {
                continue;
            }
            for value in gguf_values(own) {
                let files = vec![("m.gguf".to_owned(), parts.with(index, &value))];
                ran += usize::from(try_all(
                    &format!("{name}: {key}: {:x?}", &value[..value.len().min(40)]),
                    &files,
                ));
                tried += 1;
            }
        }
        println!("{name}: {ran} of {tried} run");
        assert!(tried > 100 && ran > 0 && ran < tried, "{name}: {ran} of {tried}");
    }
    println!("{} KiB at most", peak_kib());
    assert!(peak_kib() < MEMORY_KIB, "{} KiB", peak_kib());
}

/// Paths of every number in a value.
fn numbers_in(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Number(_) => found.push(path.to_owned()),
        Value::Object(fields) => {
            fields
                .iter()
                .for_each(|(field, value)| numbers_in(value, &format!("{path}/{field}"), found));
        }
        Value::Array(list) => {
            list.iter()
                .enumerate()
                .for_each(|(index, value)| numbers_in(value, &format!("{path}/{index}"), found));
        }
        _ => {}
    }
}

/// The counts and numbers as Python writes them, and what is none.
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
fn every_number_of_every_config_may_be_wrong() {
    for name in MODELS {
        let read = |file: &str| read(cache::tiny(name).join(file));
        let files = |config: String| -> Files {
            let own =
                ["model.safetensors", "tokenizer.json"].map(|file| (file.to_owned(), read(file)));
            let config = config.replace("\"Infinity\"", "Infinity").into_bytes();
            own.into_iter().chain([("config.json".to_owned(), config)]).collect()
        };
        // Numbers that JSON lacks are strings meanwhile.
        let config =
            String::from_utf8(read("config.json")).unwrap().replace("Infinity", "\"Infinity\"");
        let config: Value = serde_json::from_str(&config).unwrap();
        assert!(try_all(name, &files(config.to_string())), "{name} as it is");
        let mut paths = Vec::new();
        numbers_in(&config, "", &mut paths);
        let (mut tried, mut ran) = (0, 0);
        for path in &paths {
            for text in json_texts() {
                let mut changed = config.clone();
                *changed.pointer_mut(path).unwrap() = json!("HERE");
                let changed = changed.to_string().replace("\"HERE\"", &text);
                ran += usize::from(try_all(&format!("{name}: {path}: {text}"), &files(changed)));
                tried += 1;
            }
        }
        println!("{name}: {ran} of {tried} run");
        assert!(tried > 100 && ran > 0 && ran < tried, "{name}: {ran} of {tried}");
    }
    println!("{} KiB at most", peak_kib());
    assert!(peak_kib() < MEMORY_KIB, "{} KiB", peak_kib());
}

// ---------------------------------------------------------------- sizes that agree

/// A llama of such sizes whose tensors have the shapes that follow; `layers` layers, no weights
/// behind the header.
fn llama_header(
    layers: u32,
    hidden: usize,
    heads: [usize; 3],
    ffn: usize,
    vocabulary: usize,
) -> Gguf {
    let [head_count, kv_heads, head_dim] = heads;
    let mut model = tiny_llama(64, Format::F16);
    let keep =
        ["block_count", "embedding_length", "feed_forward_length", "head_count", "head_count_kv"];
    for key in keep.iter().chain(&["vocab_size", "rope.dimension_count", "context_length"]) {
        model.keys.retain(|(own, _)| !own.starts_with(b"llama.") || !own.ends_with(key.as_bytes()));
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
        let size = 2 * axes.iter().product::<u64>();
        let data = Vec::new();
        model.tensors.push(common::gguf::Tensor {
            name: name.into_bytes(),
            axes,
            type_number: f16,
            offset: Some(offset),
            data,
        });
        offset += size.next_multiple_of(32);
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

/// Bytes that a model may take by what it states: as `src/engine/memory.rs` says.
fn allowed(found: &Estimate) -> u64 {
    4 * found.tensors.iter().map(|tensor| tensor.size_bytes).sum::<u64>() + (512 << 20)
}

#[test]
fn the_most_layers_are_planned_soon() {
    let started = Instant::now();
    let found = headers_of(&file(&llama_header(1024, 32, [1, 1, 4], 32, 260))).unwrap();
    let took = started.elapsed();
    println!("{} tensors in {took:?}", found.tensors.len());
    assert_eq!(found.tensors.len(), 2 + 9 * 1024);
    assert!(took < Duration::from_secs(3), "{took:?}");
    let more = headers_of(&file(&llama_header(1025, 32, [1, 1, 4], 32, 260))).unwrap_err();
    assert!(more.message().contains("block_count: found 1025, expected 1 to 1024"), "{more}");
}

/// Needs a 64-bit address space: the matrix takes 512 GiB.
#[cfg(not(target_arch = "wasm32"))]
#[test]
fn a_matrix_of_any_shape_has_few_parts() {
    // Rows of 2 MiB, of which a binding holds 64, and 2^18 of them.
    let model = llama_header(1, 1 << 20, [1, 1, 4], 32, 1 << 18);
    let started = Instant::now();
    let found = headers_of(&file(&model)).unwrap();
    // The second limit is less than a row.
    for allowed in [128 << 20, 1 << 20] {
        let options = LoadOptions::default();
        let planned = pollster::block_on(plans(sources(&file(&model)), &options, allowed)).unwrap();
        let kernels = planned[0].kernels.iter().map(|planned| &planned.kernel);
        let parts: Vec<_> = kernels.filter(|kernel| matches!(kernel, Kernel::Embed(_))).collect();
        assert!((2..=256).contains(&parts.len()), "{} parts", parts.len());
        let rows = parts.iter().map(|part| u64::from(part.matrix().unwrap().rows)).sum::<u64>();
        assert_eq!(rows, 1 << 18);
    }
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    // More than a binding holds, which is what is said then.
    assert!(found.largest_buffer_bytes > 128 << 20, "{}", found.largest_buffer_bytes);
}

#[test]
fn a_small_file_is_no_large_model() {
    let refused = |model: &Gguf| {
        let error = headers_of(&file(model)).expect_err("an error");
        assert_eq!(error.code(), Code::UnsupportedFormat, "{error}");
        assert!(
            error.message().contains("bytes of memory") && error.message().contains("of weights"),
            "{error}"
        );
    };
    // Rows of one number, each of which is padded to a unit.
    refused(&llama_header(30, 1, [1, 1, 4], 1 << 20, 260));
    // A state that no sequence of a model of that size has.
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
fn the_default_context_is_in_proportion() {
    // Keys and values of 1 MB for each position, as the default format keeps them.
    let wide = llama_header(1, 1, [1024, 1024, 256], 32, 260);
    let found = headers_of(&file(&wide)).unwrap();
    assert_eq!(found.max_context_length, (1 << 30) - 1);
    assert!((1..1024).contains(&found.context_length), "{}", found.context_length);
    assert!(found.cpu_memory.peak_cpu_bytes <= allowed(&found), "{:?}", found.cpu_memory);
    // A longer context that is asked for is planned, or refused for lack of memory.
    let options = LoadOptions { context_length: Some(4096), ..LoadOptions::default() };
    let asked = pollster::block_on(estimate(sources(&file(&wide)), &options, None)).unwrap();
    assert_eq!(asked.context_length, 4096);
    // A model in proportion keeps the default.
    let plain = headers_of(&file(&llama_header(2, 64, [4, 2, 16], 128, 260))).unwrap();
    assert_eq!(plain.context_length, 4096);
}

#[test]
fn wide_models_take_fewer_rows_at_a_time() {
    let rows = |model: &Gguf, chunk: Option<u32>| {
        let options = LoadOptions { chunk, ..LoadOptions::default() };
        pollster::block_on(plans(sources(&file(model)), &options, u64::MAX)).unwrap()[1].capacity
    };
    assert_eq!(rows(&tiny_llama(64, Format::F16), None), 64);
    let wide = llama_header(1, 32, [1, 1, 4], 1 << 20, 260);
    assert_eq!((rows(&wide, None), rows(&wide, Some(4096))), (16, 16));
}

#[test]
fn weights_that_give_no_numbers_are_the_files_fault() {
    for value in [f32::MAX, -f32::MAX] {
        let huge = tiny_llama(64, Format::F32).change("output_norm.weight", |tensor| {
            tensor.data = f32_bytes(vec![value; 64]);
        });
        let run = async || -> Result<(), Error> {
            let options = LoadOptions { device: DeviceChoice::Cpu, ..LoadOptions::default() };
            let mut engine = Engine::load(sources(&file(&huge)), &options, &mut |_| {}).await?;
            let request = GenerateRequest {
                prompt: Prompt::Tokens(vec![1, 2, 3]),
                max_tokens: Some(2),
                sampling: SamplerOptions::default(),
                stop: Vec::new(),
                ignore_stop_tokens: false,
            };
            engine.generate(&request, |_| {}).await.map(|_| ())
        };
        let error = pollster::block_on(run()).expect_err("an error");
        assert_eq!(error.code(), Code::Malformed, "{error}");
        assert!(error.message().contains("logit"), "{error}");
    }
    let zero = tiny_llama(64, Format::F32).tensor(
        "rope_freqs.weight",
        Format::F32,
        &[8],
        f32_bytes([0.0; 8]),
    );
    let options = LoadOptions { device: DeviceChoice::Cpu, ..LoadOptions::default() };
    let loaded = pollster::block_on(Engine::load(sources(&file(&zero)), &options, &mut |_| {}));
    let error = loaded.err().expect("an error");
    assert!(
        error.code() == Code::Malformed && error.message().contains("rope_freqs.weight"),
        "{error}"
    );
}
