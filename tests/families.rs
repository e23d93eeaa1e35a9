//! Every architecture on tiny random models, whose sizes fill no tile, against Hugging Face
//! transformers and llama.cpp (`tests/data/tiny`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use serde_json::Value;
use std::path::{Path, PathBuf};

use common::cache;
use common::engines::{devices, greedy, load, max_difference};
use tablm::cpu::CpuVariant;
use tablm::engine::{DeviceChoice, Engine, LoadOptions, Prompt, TestSwitches, normalized_error};
use tablm::kernels::{CacheFormat, MatmulTiling, MatvecStrategy};
use tablm::weights::quantize::Target;

/// Prompt lengths, as in specs.py: around one prefill chunk of 64, and just over eight chunks.
const LENGTHS: [u32; 7] = [1, 2, 63, 64, 65, 200, 513];
const GREEDY_PROMPT: u32 = 65;
/// Families of tests/data/tiny/reference/.
const FAMILIES: [&str; 19] = [
    "ernie4_5",
    "exaone4",
    "falcon_h1",
    "gemma2",
    "gemma3",
    "granite",
    "granitehybrid",
    "hunyuan",
    "lfm2",
    "lfm3",
    "llama",
    "mistral3",
    "nemotron_h",
    "olmo2",
    "phi",
    "phi3",
    "qwen2",
    "qwen3",
    "smollm3",
];
/// Bound of the differences of logits, relative to the largest logit.
const TOLERANCE: f32 = 1e-4;

/// Results of the reference implementations for one model.
struct Reference {
    name: String,
    vocabulary_size: u32,
    /// Logits after the prompt of each length.
    logits: Vec<Vec<f32>>,
    /// Greedy continuation by transformers.
    greedy: Vec<u32>,
    /// Greedy continuation by llama.cpp, if it supports the model.
    llama_cpp: Option<Vec<u32>>,
    /// True if the model also exists as a GGUF file.
    has_gguf: bool,
}

fn data(file: &str) -> Vec<u8> {
    let path = format!("{}/tests/data/tiny/reference/{file}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

/// Checks that the reference results belong to the cached model, and that its GGUF file is the one
/// that was compared with the converter's, if it was.
fn check_weights(manifest: &Value, entry: &Value) {
    let name = entry["name"].as_str().unwrap();
    let found = &manifest["files"][format!("{name}/model.safetensors")]["sha256"];
    assert_eq!(
        found, &entry["weights_sha256"],
        "{name}: model and reference results differ: make both again"
    );
    let twin = &manifest["files"][format!("{name}.gguf")]["sha256"];
    assert!(
        entry["twin_sha256"].is_null() || twin == &entry["twin_sha256"],
        "{name}.gguf: changed since check_converter.py compared it: compare it again"
    );
}

fn references(family: &str) -> Vec<Reference> {
    let entries: Value = serde_json::from_slice(&data(&format!("{family}.json"))).unwrap();
    let manifest = std::fs::read(cache::tiny("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let bytes = data(&format!("{family}.f32"));
    let mut numbers =
        bytes.chunks_exact(4).map(|number| f32::from_le_bytes(number.try_into().unwrap()));
    let read = |entry: &Value| {
        check_weights(&manifest, entry);
        let vocabulary_size = entry["vocab_size"].as_u64().unwrap() as u32;
        Reference {
            name: entry["name"].as_str().unwrap().to_owned(),
            vocabulary_size,
            logits: LENGTHS
                .map(|_| numbers.by_ref().take(vocabulary_size as usize).collect())
                .to_vec(),
            greedy: ids(&entry["greedy"]),
            llama_cpp: entry["llamacpp"].get("ids").map(ids),
            has_gguf: entry["twin"].is_null(),
        }
    };
    let found: Vec<_> = entries.as_array().unwrap().iter().map(read).collect();
    assert!(numbers.next().is_none(), "{family}.f32 is longer than {family}.json says");
    found
}

impl Reference {
    fn prompt(&self, length: u32) -> Vec<u32> {
        (0..length).map(|i| (31 * i * i + 17 * i + 5) % self.vocabulary_size).collect()
    }

    fn folder(&self) -> PathBuf {
        cache::tiny(&self.name)
    }

    /// The GGUF file, or the folder if there is none.
    fn gguf(&self) -> PathBuf {
        if self.has_gguf { cache::tiny(&format!("{}.gguf", self.name)) } else { self.folder() }
    }

    /// Checks the logits after the prompts of some lengths; returns the largest error.
    async fn check_logits(&self, engine: &mut Engine, at: &str, lengths: &[u32]) -> f32 {
        let mut worst = 0.0f32;
        for (length, expected) in LENGTHS.iter().zip(&self.logits) {
            if lengths.contains(length) {
                let found = engine.logits(&self.prompt(*length)).await.unwrap();
                assert!(found.iter().all(|logit| logit.is_finite()), "{at}");
                let largest = expected.iter().fold(0.0f32, |most, logit| most.max(logit.abs()));
                let error = max_difference(&found, expected) / largest;
                assert!(error < TOLERANCE, "{at}: {length} tokens: logits differ by {error:e}");
                worst = worst.max(error);
            }
        }
        worst
    }

    /// Checks that fused and unfused kernels compute the same logits.
    async fn check_unfused(&self, fused: &mut Engine, at: &str, path: &Path, device: DeviceChoice) {
        let mut unfused = open(path, device, true).await;
        let prompt = self.prompt(GREEDY_PROMPT);
        let found = fused.logits(&prompt).await.unwrap();
        let expected = unfused.logits(&prompt).await.unwrap();
        let error = normalized_error(&expected, &found);
        assert!(error < 1e-10, "{at}: fused and unfused logits differ by {error:e}");
    }

    /// Checks the greedy continuation against both references.
    async fn check_greedy(&self, engine: &mut Engine, at: &str) {
        let mut request = greedy(Prompt::Tokens(self.prompt(GREEDY_PROMPT)), self.greedy.len());
        request.ignore_stop_tokens = true;
        let found = engine.generate(&request, |_| {}).await.unwrap().token_ids;
        assert_eq!(found, self.greedy, "{at}: greedy ids, against transformers");
        if let Some(expected) = &self.llama_cpp {
            assert_eq!(&found, expected, "{at}: greedy ids, against llama.cpp");
        }
    }
}

async fn open(path: &Path, device: DeviceChoice, unfused: bool) -> Engine {
    open_with_chunk(path, device, unfused, 64).await
}

async fn open_with_chunk(path: &Path, device: DeviceChoice, unfused: bool, chunk: u32) -> Engine {
    let options = LoadOptions {
        device,
        context_length: Some(600),
        chunk: Some(chunk),
        // The references have f32 caches, which are not the default for all weight formats.
        kv_format: Some(CacheFormat::F32),
        test: TestSwitches { unfused, ..TestSwitches::default() },
        ..LoadOptions::default()
    };
    load(path, options).await
}

/// Checks every model of an architecture.
///
/// The folder on the GPU and the GGUF file on the CPU run prompts of all lengths, which tests both
/// executors, and the tensor names, row orders and weight transforms of both containers. The other
/// two pairs combine tested parts: one prompt of two chunks suffices.
fn check(family: &str) {
    pollster::block_on(async {
        let devices = devices().await;
        for model in references(family) {
            for &device in &devices {
                let with_all_lengths =
                    if device == DeviceChoice::WebGpu { model.folder() } else { model.gguf() };
                for path in [model.folder(), model.gguf()] {
                    let at = format!("{} on {device:?}", path.file_name().unwrap().display());
                    let mut engine = open(&path, device, false).await;
                    let lengths: &[u32] =
                        if path == with_all_lengths { &LENGTHS } else { &[GREEDY_PROMPT] };
                    let worst = model.check_logits(&mut engine, &at, lengths).await;
                    println!("{at}: logits within {worst:.1e}");
                    if path == with_all_lengths {
                        model.check_greedy(&mut engine, &at).await;
                    } else if device == DeviceChoice::Cpu {
                        model.check_unfused(&mut engine, &at, &path, device).await;
                    }
                    if !model.has_gguf {
                        break;
                    }
                }
            }
        }
    });
}

/// Every matvec strategy and every matmul tiling that the adapter supports.
#[test]
fn greedy_ids_with_every_strategy_and_tiling() {
    pollster::block_on(async {
        let Some(gpu) = common::gpu().await else { return };
        let features = &gpu.report.features;
        let strategies =
            MatvecStrategy::ALL.into_iter().filter(|it| it.missing_feature(features).is_none());
        let tilings: Vec<_> = MatmulTiling::ALL
            .into_iter()
            .filter(|it| it.missing_feature(features).is_none())
            .collect();
        let pairs = strategies.zip(tilings.into_iter().cycle());
        for (family, (strategy, tiling)) in
            pairs.flat_map(|pair| [("llama", pair), ("nemotron_h", pair)])
        {
            let model = &references(family)[0];
            let options = LoadOptions {
                device: DeviceChoice::WebGpu,
                context_length: Some(600),
                strategy: Some(strategy),
                tiling: Some(tiling),
                ..LoadOptions::default()
            };
            let mut engine = load(&model.folder(), options).await;
            let at = format!("{family} {} {}", strategy.name(), tiling.name());
            model.check_greedy(&mut engine, &at).await;
        }
    });
}

/// Models in f32, Q8_0 and T4. The first variant is the CPU reference.
#[test]
fn cpu_variants_are_close_to_the_cpu_reference() {
    pollster::block_on(async {
        let variants = CpuVariant::ALL.into_iter().filter(|variant| variant.is_available());
        let variants: Vec<CpuVariant> = variants.collect();
        assert_eq!(variants[0], CpuVariant::Exact);
        for family in FAMILIES {
            let model = &references(family)[0];
            for (quantize, bound) in
                [(None, 1e-10), (Some(Target::Q8_0), 1e-6), (Some(Target::T4), 1e-4)]
            {
                let mut expected = Vec::new();
                for variant in &variants {
                    let options = LoadOptions {
                        device: DeviceChoice::Cpu,
                        context_length: Some(100),
                        kv_format: Some(CacheFormat::F32),
                        cpu_variant: Some(*variant),
                        quantize,
                        ..LoadOptions::default()
                    };
                    let mut engine = load(&model.folder(), options).await;
                    let mut logits = engine.logits(&model.prompt(GREEDY_PROMPT)).await.unwrap();
                    logits.extend(engine.logits(&model.prompt(1)).await.unwrap());
                    if expected.is_empty() {
                        expected = logits;
                        continue;
                    }
                    let error = normalized_error(&expected, &logits);
                    let at = format!("{} {} {quantize:?}", model.name, variant.name());
                    println!("{at}: {error:.1e}");
                    assert!(error < bound, "{at}: {error:e}");
                }
            }
        }
    });
}

/// Prompts in chunks of other sizes than 64: states go from chunk to chunk.
#[test]
fn logits_with_every_chunk_size() {
    pollster::block_on(async {
        for device in devices().await {
            let (chunks, lengths): (&[u32], _) = match device {
                DeviceChoice::WebGpu => (&[7, 512], &[200][..]),
                _ => (&[1, 7, 512], &[65, 513][..]),
            };
            for model in FAMILIES.map(|family| references(family).swap_remove(0)) {
                for &chunk in chunks {
                    let mut engine = open_with_chunk(&model.gguf(), device, false, chunk).await;
                    let at = format!("{} on {device:?} in chunks of {chunk}", model.name);
                    let worst = model.check_logits(&mut engine, &at, lengths).await;
                    println!("{at}: logits within {worst:.1e}");
                }
            }
        }
    });
}

#[test]
fn nemotron_h() {
    check("nemotron_h");
}

#[test]
fn llama() {
    check("llama");
}

#[test]
fn granitehybrid() {
    check("granitehybrid");
}

#[test]
fn lfm2() {
    check("lfm2");
}

#[test]
fn lfm3() {
    check("lfm3");
}

#[test]
fn qwen2() {
    check("qwen2");
}

#[test]
fn gemma2() {
    check("gemma2");
}

#[test]
fn gemma3() {
    check("gemma3");
}

#[test]
fn phi() {
    check("phi");
}

#[test]
fn qwen3() {
    check("qwen3");
}

#[test]
fn smollm3() {
    check("smollm3");
}

#[test]
fn granite() {
    check("granite");
}

#[test]
fn phi3() {
    check("phi3");
}

#[test]
fn mistral3() {
    check("mistral3");
}

#[test]
fn olmo2() {
    check("olmo2");
}

#[test]
fn falcon_h1() {
    check("falcon_h1");
}

#[test]
fn exaone4() {
    check("exaone4");
}

#[test]
fn ernie4_5() {
    check("ernie4_5");
}

#[test]
fn hunyuan() {
    check("hunyuan");
}
