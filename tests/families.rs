//! Every architecture on tiny random models of awkward sizes, against Hugging Face transformers and
//! llama.cpp (`tests/data/tiny`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use serde_json::Value;
use std::path::{Path, PathBuf};

use common::cache;
use common::engines::{devices, greedy, load};
use tablm::cpu::CpuVariant;
use tablm::engine::{DeviceChoice, Engine, LoadOptions, Prompt, TestSwitches, normalized_error};
use tablm::kernels::{CacheFormat, MatmulTiling, MatvecStrategy};
use tablm::weights::quantize::Target;

/// Prompt lengths, as in specs.py: around a prefill chunk of 64, and eight chunks and one token.
const LENGTHS: [u32; 7] = [1, 2, 63, 64, 65, 200, 513];
const GREEDY_PROMPT: u32 = 65;
/// Bound of the difference of two logits, relative to the largest logit.
const TOLERANCE: f32 = 1e-4;

/// Results of the reference implementations for one model.
struct Reference {
    name: String,
    vocabulary_size: u32,
    /// Logits after the prompt of each length.
    logits: Vec<Vec<f32>>,
    /// Greedy continuation by transformers.
    greedy: Vec<u32>,
    /// Greedy continuation by llama.cpp, unless it or GGUF does not support the model.
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

/// Fails unless the cached model is the one that the reference results are of.
fn check_weights(manifest: &Value, entry: &Value) {
    let name = entry["name"].as_str().unwrap();
    let found = &manifest["files"][format!("{name}/model.safetensors")]["sha256"];
    assert_eq!(
        found, &entry["weights_sha256"],
        "{name} is not the model of the reference results: make both again"
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
                let largest = expected.iter().fold(0.0f32, |most, logit| most.max(logit.abs()));
                let errors = found.iter().zip(expected).map(|(a, b)| (a - b).abs() / largest);
                let error = errors.fold(0.0, f32::max);
                assert!(
                    found.len() == expected.len() && found.iter().all(|logit| logit.is_finite()),
                    "{at}"
                );
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
        let (fused, unfused) =
            (fused.logits(&prompt).await.unwrap(), unfused.logits(&prompt).await.unwrap());
        let error = normalized_error(&unfused, &fused);
        assert!(error < 1e-10, "{at}: fused and unfused differ by {error:e}");
    }

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
    let options = LoadOptions {
        device,
        context_length: Some(600),
        chunk: Some(64),
        // The references have f32 caches; here they are the default only if all weights are f32.
        kv_format: Some(CacheFormat::F32),
        test: TestSwitches { unfused, ..TestSwitches::default() },
        ..LoadOptions::default()
    };
    load(path, options).await
}

/// Checks every model of an architecture.
///
/// The folder on the GPU and the GGUF file on the CPU run all lengths: so each executor is tested,
/// and each container's names, row orders and transforms of weights. The other two pairs combine
/// parts that are tested by then, so that one prompt of two chunks suffices.
fn check(family: &str) {
    pollster::block_on(async {
        let devices = devices().await;
        for model in references(family) {
            for &device in &devices {
                let thorough =
                    if device == DeviceChoice::WebGpu { model.folder() } else { model.gguf() };
                for path in [model.folder(), model.gguf()] {
                    let at = format!("{} on {device:?}", path.file_name().unwrap().display());
                    let mut engine = open(&path, device, false).await;
                    let lengths: &[u32] =
                        if path == thorough { &LENGTHS } else { &[GREEDY_PROMPT] };
                    let worst = model.check_logits(&mut engine, &at, lengths).await;
                    println!("{at}: logits within {worst:.1e}");
                    if path == thorough {
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

/// Greedy ids with every matvec strategy and every matmul tiling that the adapter supports.
#[test]
fn every_strategy_and_tiling() {
    pollster::block_on(async {
        let Some(gpu) = common::gpu().await else { return };
        let features = &gpu.report.features;
        let strategies =
            MatvecStrategy::ALL.into_iter().filter(|it| it.missing_feature(features).is_none());
        let tilings: Vec<_> = MatmulTiling::ALL
            .into_iter()
            .filter(|it| it.missing_feature(features).is_none())
            .collect();
        let forms = strategies.zip(tilings.into_iter().cycle());
        for (family, (strategy, tiling)) in
            forms.flat_map(|form| [("llama", form), ("nemotron_h", form)])
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

/// Every CPU variant against the CPU reference, on models in f32, Q8_0 and T4.
#[test]
fn every_cpu_variant() {
    pollster::block_on(async {
        let variants = CpuVariant::ALL.into_iter().filter(|variant| variant.is_available());
        let variants: Vec<CpuVariant> = variants.collect();
        for family in ["gemma2", "gemma3", "llama", "nemotron_h", "phi", "qwen2"] {
            let model = &references(family)[0];
            for (quantize, bound) in
                [(None, 1e-10), (Some(Target::Q8_0), 1e-6), (Some(Target::T4), 1e-4)]
            {
                let mut exact = Vec::new();
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
                    if exact.is_empty() {
                        exact = logits;
                        continue;
                    }
                    let error = normalized_error(&exact, &logits);
                    let at = format!("{} {} {quantize:?}", model.name, variant.name());
                    println!("{at}: {error:.1e}");
                    assert!(error < bound, "{at}: {error:e}");
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
