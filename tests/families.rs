//! Every architecture on tiny random models whose sizes never come out even, against Hugging Face
//! transformers and llama.cpp (`tests/data/tiny`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use serde_json::Value;
use std::path::{Path, PathBuf};

use common::cache;
use common::engines::{devices, greedy, load};
use tablm::cpu::CpuVariant;
use tablm::engine::{DeviceChoice, Engine, LoadOptions, Prompt, normalized_error};
use tablm::kernels::{CacheFormat, Tile, Variant};
use tablm::weights::quantize::Target;

/// Lengths of the prompts, as in specs.py: around a chunk, and eight chunks and one more.
const LENGTHS: [u32; 7] = [1, 2, 63, 64, 65, 200, 513];
const GREEDY_PROMPT: u32 = 65;
/// The largest difference of two logits, over the largest logit.
const TOLERANCE: f32 = 1e-4;

/// What the reference implementations say of one model.
struct Reference {
    name: String,
    vocabulary_size: u32,
    /// Logits after the prompt of each length.
    logits: Vec<Vec<f32>>,
    /// The greedy continuation, by transformers.
    greedy: Vec<u32>,
    /// The same by llama.cpp, unless it refuses the model or GGUF cannot say what it is.
    llama_cpp: Option<Vec<u32>>,
    has_twin: bool,
}

fn data(file: &str) -> Vec<u8> {
    let path = format!("{}/tests/data/tiny/reference/{file}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

/// Fails unless the model in the cache is the one the reference was made from.
fn check_weights(manifest: &Value, entry: &Value) {
    let name = entry["name"].as_str().unwrap();
    let found = &manifest["files"][format!("{name}/model.safetensors")]["sha256"];
    assert_eq!(
        found, &entry["weights_sha256"],
        "{name} is not the model of the reference: make both again"
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
            has_twin: entry["twin"].is_null(),
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

    /// The GGUF file; the folder where there is none.
    fn twin(&self) -> PathBuf {
        if self.has_twin { cache::tiny(&format!("{}.gguf", self.name)) } else { self.folder() }
    }

    /// The logits after the prompts of those lengths; gives the largest error.
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

    /// The same model with its kernels one by one.
    async fn check_unfused(&self, fused: &mut Engine, at: &str, path: &Path, device: DeviceChoice) {
        let mut unfused = open(path, device, true).await;
        let prompt = self.prompt(GREEDY_PROMPT);
        let (fused, unfused) =
            (fused.logits(&prompt).await.unwrap(), unfused.logits(&prompt).await.unwrap());
        let error = normalized_error(&unfused, &fused);
        assert!(error < 1e-10, "{at}: fused and not: {error:e}");
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
        // As the references; it is the default only where all weights are in f32.
        kv_format: Some(CacheFormat::F32),
        unfused,
        ..LoadOptions::default()
    };
    load(path, options).await
}

/// Checks every model of an architecture.
///
/// The folder on the GPU and the GGUF file on the CPU go through all lengths, and so each executor
/// and each way to name, order and transform the weights does. What the two share (the plan) has
/// then been through both; the other two pairs add only how they go together, for which one
/// prompt over two chunks is enough.
fn check(family: &str) {
    pollster::block_on(async {
        let devices = devices().await;
        for model in references(family) {
            for &device in &devices {
                let thorough =
                    if device == DeviceChoice::Gpu { model.folder() } else { model.twin() };
                for path in [model.folder(), model.twin()] {
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
                    if !model.has_twin {
                        break;
                    }
                }
            }
        }
    });
}

/// The ids of the shortest way, by every variant of the products of one token and every tile of those
/// of many.
#[test]
fn every_variant_and_tile() {
    pollster::block_on(async {
        let Some(gpu) = common::gpu().await else { return };
        let features = &gpu.report.features;
        let variants = Variant::ALL.into_iter().filter(|it| it.lacks(features).is_none());
        let tiles: Vec<_> =
            Tile::ALL.into_iter().filter(|it| it.lacks(features).is_none()).collect();
        let forms = variants.zip(tiles.into_iter().cycle());
        for (family, (variant, tile)) in
            forms.flat_map(|form| [("llama", form), ("nemotron_h", form)])
        {
            let model = &references(family)[0];
            let options = LoadOptions {
                device: DeviceChoice::Gpu,
                context_length: Some(600),
                variant: Some(variant),
                tile: Some(tile),
                ..LoadOptions::default()
            };
            let mut engine = load(&model.folder(), options).await;
            model
                .check_greedy(&mut engine, &format!("{family} {} {}", variant.name(), tile.name()))
                .await;
        }
    });
}

/// What the CPU's quick ways make of models in f32, and of the same in eight bits and fewer, against
/// what the kernels mean.
#[test]
fn every_variant_of_the_cpu() {
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
                    println!("{} {} {quantize:?}: {error:.1e}", model.name, variant.name());
                    assert!(
                        error < bound,
                        "{} {} {quantize:?}: {error:e}",
                        model.name,
                        variant.name()
                    );
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
