//! Models of the real sizes: what their headers alone promise, cuts of a few layers at full width,
//! and what a GPU that is too small says before a weight is read.
//! The files are random weights from `tests/data/make_full_size.py`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::path::PathBuf;
use std::rc::Rc;

use common::engines::{devices, greedy, load};
use common::gguf::tiny_llama;
use common::{cache, gpu};
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

/// Name, tensors, their bytes and weights, and bytes of state at a context of 4096.
const MODELS: &[(&str, usize, u64, u64, u64)] = &[
    ("nemotron4b", 263, 2_829_187_200, 3_973_556_832, NEMOTRON_STATE),
    ("minitron_width", 292, 2_770_446_592, 4_512_746_560, 32 * 2 * 4096 * 1024 * 2),
];

/// 21 mixers of 96 heads of 80 × 128 and the last inputs of their convolutions, 4 caches.
const NEMOTRON_STATE: u64 = 21 * (96 * 80 * 128 + 9728 * 4) * 4 + 4 * 2 * 4096 * 1024 * 2;

/// Cuts with every kind of layer and every format of the whole.
const CUTS: &[&str] =
    &["nemotron4b_layers-0-1-32_vocabulary-1024", "minitron_width_layers-0-4_vocabulary-1024"];

fn full_size(name: &str) -> PathBuf {
    let path = cache::folder().join("full-size").join(name);
    assert!(path.exists(), "{} is not there: run `make test` once, which makes it", path.display());
    path
}

fn promised(file: &str, context_length: u32, adapter: Option<&AdapterReport>) -> Estimate {
    let options = LoadOptions { context_length: Some(context_length), ..LoadOptions::default() };
    let files = open_path(&full_size(file)).unwrap();
    pollster::block_on(estimate(files, &options, adapter)).unwrap()
}

#[test]
fn headers_tell_every_byte() {
    for (name, tensors, bytes, parameters, state) in MODELS {
        let found = promised(&format!("{name}.header.gguf"), 4096, None);
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
        let overhead = memory.peak_gpu_bytes as f64 / (*bytes + *state) as f64;
        println!("{name}: {memory:?}, {overhead:.4} of weights and state");
        assert!(overhead < 1.05, "{name}: {overhead}");
    }
}

/// Kernels of a token, the one that chooses it among them: of Nemotron 3 Nano 4B at most 120 with
/// our own weight format, of a model of Llama's layers at most seven a layer and five.
#[test]
fn a_token_takes_few_kernels() {
    let kernels = |name: &str, quantize, unfused| {
        let options = LoadOptions {
            quantize,
            test: TestSwitches { unfused, ..TestSwitches::default() },
            ..LoadOptions::default()
        };
        let files = open_path(&full_size(&format!("{name}.header.gguf"))).unwrap();
        pollster::block_on(estimate(files, &options, None)).unwrap().step.dispatches
    };
    for (name, quantize, most) in [
        ("nemotron4b", Some(Target::T4), 120),
        ("nemotron4b", None, 125),
        ("minitron_width", None, 7 * 32 + 5),
    ] {
        let [fused, unfused] = [false, true].map(|unfused| kernels(name, quantize, unfused));
        println!("{name} as {quantize:?}: {fused} kernels, {unfused} unfused");
        assert!(fused <= most, "{name} as {quantize:?}: {fused} kernels, expected at most {most}");
        assert!(unfused > 2 * fused, "{name} as {quantize:?}: {unfused} kernels unfused");
    }
}

#[test]
fn cuts_answer_alike_and_take_what_was_promised() {
    let tokens: Vec<u32> = (0..7).map(|i| i * 131 + 5).collect();
    for name in CUTS {
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
                // Keys may round to the next f16 if numbers differ in the last bit of f32.
                assert!(error < 1e-7, "{name} on {device:?}: {error:e}");
                assert_eq!(ids, *cpu_ids, "{name} on {device:?}");
                if device == DeviceChoice::WebGpu {
                    let report = Gpu::probe(&AdapterHints::default()).await.unwrap();
                    let promised = promised(&file, 128, Some(&report)).memory;
                    assert_eq!(
                        engine.info().memory.peak_gpu_bytes,
                        promised.peak_gpu_bytes,
                        "{name}"
                    );
                }
            });
        }
    }
}

/// The number of threads changes nothing, at sizes that are worth dividing.
#[test]
fn threads_change_no_bit() {
    let tokens: Vec<u32> = (0..70).map(|i| i * 131 % 1000).collect();
    for path in [cache::smollm2(), full_size(&format!("{}.gguf", CUTS[0]))] {
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

/// A tiny model that may have more positions than any GPU has room for.
fn endless() -> Vec<Rc<dyn ByteSource>> {
    let model = tiny_llama(64, Format::Q8_0).without_key("llama.context_length");
    let model = model.u32("llama.context_length", 1 << 29);
    vec![Rc::new(MemorySource::new("endless.gguf", model.bytes()))]
}

#[test]
fn a_gpu_that_is_too_small_says_so_before_anything_is_read() {
    pollster::block_on(async {
        let Some(_) = gpu().await else { return };
        let options = LoadOptions {
            device: DeviceChoice::WebGpu,
            context_length: Some(1 << 29),
            ..LoadOptions::default()
        };
        let mut phases = Vec::new();
        let loaded =
            Engine::load(endless(), &options, &mut |progress| phases.push(progress.phase)).await;
        let error = loaded.err().expect("an error");
        assert_eq!(error.code(), Code::GpuTooSmall, "{error}");
        // A row of keys is 32 numbers in half precision.
        for words in [
            "endless.gguf",
            "buffer of 34359738368 bytes",
            "a context length of 536870912",
            "allowed by this GPU",
        ] {
            assert!(error.message().contains(words), "{words:?} is not in {error}");
        }
        assert_eq!(phases, Vec::<&str>::new());
    });
}

#[test]
fn estimates_say_why_not_and_what_would_fit() {
    let adapter = |max_binding_bytes| AdapterReport {
        name: "small".to_owned(),
        interface: String::new(),
        driver: String::new(),
        kind: String::new(),
        features: Vec::new(),
        max_buffer_bytes: 1 << 30,
        max_binding_bytes,
    };
    let ask = |context_length, adapter: &AdapterReport| {
        let options =
            LoadOptions { context_length: Some(context_length), ..LoadOptions::default() };
        pollster::block_on(estimate(endless(), &options, Some(adapter))).unwrap()
    };
    // 64 bytes a position.
    let found = ask(5000, &adapter(1 << 18));
    assert_eq!((found.fits, found.largest_buffer_bytes), (Some(false), 5000 * 64));
    let misfit = found.misfit.unwrap();
    for words in [
        "320000 bytes at a context length of 5000",
        "262144 allowed",
        "a context length of 2500 fits",
    ] {
        assert!(misfit.contains(words), "{words:?} is not in {misfit:?}");
    }
    let found = ask(2500, &adapter(1 << 18));
    assert_eq!((found.fits, found.misfit), (Some(true), None));
    let found = ask(5000, &adapter(64));
    assert!(found.misfit.unwrap().ends_with("no context length fits"));
}

#[test]
fn the_cpu_takes_what_was_promised() {
    let formats =
        [Format::Q4_K, Format::Q5_0, Format::Q6_K, Format::F16].map(|format| (format, None));
    for (format, quantize) in formats.into_iter().chain([(Format::F16, Some(Target::T4))]) {
        for cpu_variant in [CpuVariant::Exact, CpuVariant::best()] {
            let model = || -> Vec<Rc<dyn ByteSource>> {
                vec![Rc::new(MemorySource::new("tiny.gguf", tiny_llama(256, format).bytes()))]
            };
            let options = LoadOptions {
                device: DeviceChoice::Cpu,
                cpu_variant: Some(cpu_variant),
                quantize,
                ..LoadOptions::default()
            };
            pollster::block_on(async {
                let promised = estimate(model(), &options, None).await.unwrap().cpu_memory;
                let found =
                    Engine::load(model(), &options, &mut |_| {}).await.unwrap().info().memory;
                let bytes = |memory: Memory| {
                    [memory.weights_bytes, memory.state_bytes, memory.peak_cpu_bytes]
                };
                assert_eq!(bytes(promised), bytes(found), "{format:?} {cpu_variant:?}");
                assert_eq!(found.peak_gpu_bytes, 0);
            });
        }
    }
}

/// The address space of 32 bits holds a 4B with the default context, and not with the longest.
#[test]
fn headers_tell_whether_a_cpu_has_room() {
    let ask = |context_length, cpu_bytes| {
        let options = LoadOptions {
            context_length: Some(context_length),
            host: HostServices { max_cpu_bytes: Some(cpu_bytes), ..HostServices::default() },
            ..LoadOptions::default()
        };
        let files = open_path(&full_size("nemotron4b.header.gguf")).unwrap();
        let found = pollster::block_on(estimate(files, &options, None)).unwrap();
        (found.cpu_memory.peak_cpu_bytes, found.cpu_misfit)
    };
    let (needed, misfit) = ask(4096, (4 << 30) - (128 << 20));
    println!("{needed} bytes");
    assert_eq!(misfit, None);
    let (needed, misfit) = ask(262_144, 4 << 30);
    let misfit = misfit.unwrap();
    println!("{misfit}");
    let needed = format!("needs {needed} bytes of memory");
    for words in [
        "nemotron4b",
        &needed,
        "a context length of 262144, 4294967296 available; a context length of ",
    ] {
        assert!(misfit.contains(words), "{words:?} is not in {misfit:?}");
    }
}

#[test]
fn a_cpu_without_room_says_so_before_anything_is_read() {
    let options = LoadOptions {
        device: DeviceChoice::Cpu,
        context_length: Some(1 << 29),
        host: HostServices { max_cpu_bytes: Some(1 << 32), ..HostServices::default() },
        ..LoadOptions::default()
    };
    let mut phases = Vec::new();
    let mut progress = |progress: Progress| phases.push(progress.phase);
    let loaded = pollster::block_on(Engine::load(endless(), &options, &mut progress));
    let error = loaded.err().expect("an error");
    assert_eq!(error.code(), Code::OutOfMemory, "{error}");
    assert!(
        error.message().contains("4294967296 available; a context length of 8388608 fits"),
        "{error}"
    );
    assert_eq!(phases, Vec::<&str>::new());
}
