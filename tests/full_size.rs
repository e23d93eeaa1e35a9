//! Models of real sizes: estimates from headers, runs of a few layers at full width, and refusals
//! of models that do not fit. `tests/data/make_full_size.py` makes the files, with random weights.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::rc::Rc;

use common::assert_contains;
use common::cache::{full_size, smollm2};
use common::engines::{devices, greedy, has_gpu, load, load_gguf, sources};
use common::gguf::tiny_llama;
use tablm::cpu::{CpuVariant, Threads};
use tablm::engine::{
    DeviceChoice, Engine, Estimate, HostServices, LoadOptions, Memory, Progress, Prompt,
    TestSwitches, estimate, normalized_error,
};
use tablm::error::Code;
use tablm::formats::Format;
use tablm::gpu::{AdapterHints, AdapterReport, Gpu};
use tablm::weights::disk::open_path;
use tablm::weights::quantize::Target;
use tablm::weights::source::{ByteSource, MemorySource};

/// Name, tensor count, stored bytes, parameters, and bytes of state at a context length of 4096.
const MODELS: &[(&str, usize, u64, u64, u64)] = &[
    ("nemotron4b", 263, 2_829_187_200, 3_973_556_832, NEMOTRON_STATE),
    ("minitron_width", 292, 2_770_446_592, 4_512_746_560, 32 * 2 * 4096 * 1024 * 2),
];

/// 21 Mamba layers with a state of 96 heads × 80 × 128 and 4 inputs of the convolution, and 4 KV
/// caches in f16.
const NEMOTRON_STATE: u64 = 21 * (96 * 80 * 128 + 9728 * 4) * 4 + 4 * 2 * 4096 * 1024 * 2;

/// Models with some of the layers, which have every layer type and format of the full model.
const REDUCED: &[&str] =
    &["nemotron4b_layers-0-1-32_vocabulary-1024", "minitron_width_layers-0-4_vocabulary-1024"];

fn estimate_of(file: &str, context_length: u32, adapter: Option<&AdapterReport>) -> Estimate {
    let options = LoadOptions { context_length: Some(context_length), ..LoadOptions::default() };
    let files = open_path(&full_size(file)).unwrap();
    pollster::block_on(estimate(files, &options, adapter)).unwrap()
}

#[test]
fn header_gives_weight_state_and_peak_bytes() {
    for (name, tensors, bytes, parameters, state) in MODELS {
        let found = estimate_of(&format!("{name}.header.gguf"), 4096, None);
        let stored: u64 = found.tensors.iter().map(|tensor| tensor.size_bytes).sum();
        assert_eq!(
            (found.tensors.len(), stored, found.parameters),
            (*tensors, *bytes, *parameters),
            "{name}"
        );
        let memory = found.memory;
        assert_eq!(memory.state_bytes, *state, "{name}");
        let padding = memory.weights_bytes as f64 / *bytes as f64 - 1.0;
        assert!(padding.abs() < 1e-3, "{name}: {padding}");
        let ratio = memory.peak_gpu_bytes as f64 / (*bytes + *state) as f64;
        println!("{name}: {memory:?}, {ratio:.4} of weights and state");
        assert!(ratio < 1.05, "{name}: {ratio}");
    }
}

/// Dispatches of a decode step, sampling included. A Llama layer takes at most seven.
#[test]
fn decode_step_takes_few_dispatches() {
    let dispatches = |name: &str, quantize, unfused| {
        let options = LoadOptions {
            quantize,
            test: TestSwitches { unfused, ..TestSwitches::default() },
            ..LoadOptions::default()
        };
        let files = open_path(&full_size(&format!("{name}.header.gguf"))).unwrap();
        pollster::block_on(estimate(files, &options, None)).unwrap().step.dispatches
    };
    for (name, quantize, max_dispatches) in [
        ("nemotron4b", Some(Target::T4), 120),
        ("nemotron4b", None, 125),
        ("minitron_width", None, 7 * 32 + 5),
    ] {
        let [fused, unfused] = [false, true].map(|unfused| dispatches(name, quantize, unfused));
        let found = format!("{name} as {quantize:?}: {fused} dispatches, {unfused} unfused");
        println!("{found}");
        assert!(fused <= max_dispatches, "{found}, expected at most {max_dispatches}");
        assert!(unfused > 2 * fused, "{found}");
    }
}

#[test]
fn devices_agree_and_gpu_memory_equals_the_estimate() {
    let tokens: Vec<u32> = (0..7).map(|i| i * 131 + 5).collect();
    for name in REDUCED {
        let file = format!("{name}.gguf");
        let mut expected: Option<(Vec<f32>, Vec<u32>)> = None;
        for device in pollster::block_on(devices()) {
            let options =
                LoadOptions { device, context_length: Some(128), ..LoadOptions::default() };
            pollster::block_on(async {
                let mut engine = load(&full_size(&file), options).await;
                let logits = engine.logits(&tokens).await.unwrap();
                let request = greedy(Prompt::Tokens(tokens.clone()), 4);
                let ids = engine.generate(&request, |_| {}).await.unwrap().token_ids;
                let (cpu_logits, cpu_ids) =
                    expected.get_or_insert_with(|| (logits.clone(), ids.clone()));
                let error = normalized_error(cpu_logits, &logits);
                // Keys that differ in the last bit of f32 can round to different f16 numbers.
                assert!(error < 1e-7, "{name} on {device:?}: {error:e}");
                assert_eq!(ids, *cpu_ids, "{name} on {device:?}");
                if device == DeviceChoice::WebGpu {
                    let report = Gpu::probe(&AdapterHints::default()).await.unwrap();
                    let estimated = estimate_of(&file, 128, Some(&report)).memory.peak_gpu_bytes;
                    assert_eq!(engine.info().memory.peak_gpu_bytes, estimated, "{name}");
                }
            });
        }
    }
}

#[test]
fn thread_count_changes_no_bit() {
    let tokens: Vec<u32> = (0..70).map(|i| i * 131 % 1000).collect();
    for path in [smollm2(), full_size(&format!("{}.gguf", REDUCED[0]))] {
        let mut expected: Option<(Vec<f32>, Vec<u32>)> = None;
        for count in [1, 2, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(count).build().unwrap();
            let options = LoadOptions {
                device: DeviceChoice::Cpu,
                cpu_variant: Some(CpuVariant::best()),
                host: HostServices {
                    threads: Threads::from(pool).into(),
                    ..HostServices::default()
                },
                context_length: Some(128),
                ..LoadOptions::default()
            };
            pollster::block_on(async {
                let mut engine = load(&path, options).await;
                let logits = engine.logits(&tokens).await.unwrap();
                let request = greedy(Prompt::Tokens(tokens.clone()), 4);
                let ids = engine.generate(&request, |_| {}).await.unwrap().token_ids;
                let expected = expected.get_or_insert_with(|| (logits.clone(), ids.clone()));
                assert_eq!(*expected, (logits, ids), "{} with {count} threads", path.display());
            });
        }
    }
}

/// A tiny model whose longest context fits no GPU.
fn long_context() -> Vec<Rc<dyn ByteSource>> {
    let model = tiny_llama(64, Format::Q8_0).without_key("llama.context_length");
    let model = model.u32("llama.context_length", 1 << 29);
    vec![Rc::new(MemorySource::new("long.gguf", model.bytes()))]
}

#[test]
fn load_is_refused_before_reading_weights_if_the_gpu_is_too_small() {
    pollster::block_on(async {
        if !has_gpu().await {
            return;
        }
        let options = LoadOptions {
            device: DeviceChoice::WebGpu,
            context_length: Some(1 << 29),
            ..LoadOptions::default()
        };
        let mut phases = Vec::new();
        let mut progress = |progress: Progress| phases.push(progress.phase);
        let loaded = Engine::load(long_context(), &options, &mut progress).await;
        let error = loaded.err().expect("an error");
        assert_eq!(error.code(), Code::GpuTooSmall, "{error}");
        // Keys of a position take 64 bytes: 32 values in f16.
        let words = [
            "long.gguf",
            "buffer of 34359738368 bytes",
            "a context length of 536870912",
            "allowed by this GPU",
        ];
        assert_contains(error.message(), &words);
        assert_eq!(phases, Vec::<&str>::new());
    });
}

#[test]
fn estimate_gives_the_misfit_and_a_context_length_that_fits() {
    let adapter = |max_binding_bytes| AdapterReport {
        name: "small".to_owned(),
        interface: String::new(),
        driver: String::new(),
        kind: String::new(),
        features: Vec::new(),
        max_buffer_bytes: 1 << 30,
        max_binding_bytes,
    };
    let estimate_with = |context_length, adapter: &AdapterReport| {
        let options =
            LoadOptions { context_length: Some(context_length), ..LoadOptions::default() };
        pollster::block_on(estimate(long_context(), &options, Some(adapter))).unwrap()
    };
    // Keys of a position take 64 bytes.
    let found = estimate_with(5000, &adapter(1 << 18));
    assert_eq!((found.fits, found.largest_buffer_bytes), (Some(false), 5000 * 64));
    let words = [
        "320000 bytes at a context length of 5000",
        "262144 allowed",
        "a context length of 2500 fits",
    ];
    assert_contains(&found.misfit.unwrap(), &words);
    let found = estimate_with(2500, &adapter(1 << 18));
    assert_eq!((found.fits, found.misfit), (Some(true), None));
    let found = estimate_with(5000, &adapter(64));
    assert!(found.misfit.unwrap().ends_with("no context length fits"));
}

#[test]
fn cpu_memory_equals_the_estimate() {
    let formats =
        [Format::Q4_K, Format::Q5_0, Format::Q6_K, Format::F16].map(|format| (format, None));
    for (format, quantize) in formats.into_iter().chain([(Format::F16, Some(Target::T4))]) {
        for cpu_variant in [CpuVariant::Exact, CpuVariant::best()] {
            let model = tiny_llama(256, format);
            let options = LoadOptions {
                device: DeviceChoice::Cpu,
                cpu_variant: Some(cpu_variant),
                quantize,
                ..LoadOptions::default()
            };
            pollster::block_on(async {
                let estimated = estimate(sources(&model), &options, None).await.unwrap();
                let found = load_gguf(&model, &options).await.info().memory;
                let bytes = |memory: Memory| {
                    [memory.weights_bytes, memory.state_bytes, memory.peak_cpu_bytes]
                };
                let expected = bytes(estimated.cpu_memory);
                assert_eq!(bytes(found), expected, "{format:?} {cpu_variant:?}");
                assert_eq!(found.peak_gpu_bytes, 0);
            });
        }
    }
}

/// A 32-bit address space holds a 4B model with the default context length, but not with the
/// longest.
#[test]
fn estimate_gives_the_misfit_of_cpu_memory() {
    let estimate_with = |context_length, cpu_bytes| {
        let options = LoadOptions {
            context_length: Some(context_length),
            host: HostServices { max_cpu_bytes: Some(cpu_bytes), ..HostServices::default() },
            ..LoadOptions::default()
        };
        let files = open_path(&full_size("nemotron4b.header.gguf")).unwrap();
        let found = pollster::block_on(estimate(files, &options, None)).unwrap();
        (found.cpu_memory.peak_cpu_bytes, found.cpu_misfit)
    };
    let (needed, misfit) = estimate_with(4096, (4 << 30) - (128 << 20));
    assert_eq!(misfit, None, "{needed} bytes");
    let (needed, misfit) = estimate_with(262_144, 4 << 30);
    let needed = format!("needs {needed} bytes of memory");
    let available = "a context length of 262144, 4294967296 available; a context length of ";
    assert_contains(&misfit.unwrap(), &["nemotron4b", &needed, available]);
}

#[test]
fn load_is_refused_before_reading_weights_if_cpu_memory_is_too_small() {
    let options = LoadOptions {
        device: DeviceChoice::Cpu,
        context_length: Some(1 << 29),
        host: HostServices { max_cpu_bytes: Some(1 << 32), ..HostServices::default() },
        ..LoadOptions::default()
    };
    let mut phases = Vec::new();
    let mut progress = |progress: Progress| phases.push(progress.phase);
    let loaded = pollster::block_on(Engine::load(long_context(), &options, &mut progress));
    let error = loaded.err().expect("an error");
    assert_eq!(error.code(), Code::OutOfMemory, "{error}");
    let words = "4294967296 available; a context length of 8388608 fits";
    assert_contains(error.message(), &[words]);
    assert_eq!(phases, Vec::<&str>::new());
}
