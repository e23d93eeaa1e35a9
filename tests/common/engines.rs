//! Loaded models for tests.

use std::path::Path;
use std::rc::Rc;

use tablm::cpu::CpuVariant;
use tablm::engine::{DeviceChoice, Engine, GenerateRequest, LoadOptions, Prompt};
use tablm::sampling::SamplerOptions;
use tablm::weights::source::{ByteSource, MemorySource};

use super::gguf::Gguf;

/// The devices to test: CPU and GPU, or the CPU alone without an adapter (`ALLOW_NO_GPU=1`).
pub(crate) async fn devices() -> Vec<DeviceChoice> {
    match has_gpu().await {
        true => vec![DeviceChoice::Cpu, DeviceChoice::WebGpu],
        false => vec![DeviceChoice::Cpu],
    }
}

/// True if there is an adapter; false only where `ALLOW_NO_GPU=1` and there is none.
pub(crate) async fn has_gpu() -> bool {
    super::gpu().await.is_some()
}

/// Loads a model; on the CPU with the reference kernels unless the options say otherwise.
pub(crate) async fn load(path: &Path, mut options: LoadOptions) -> Engine {
    options.cpu_variant.get_or_insert(CpuVariant::Exact);
    let engine = Engine::load(super::files::open(path), &options, &mut |_| {}).await;
    engine.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A GGUF file in memory, called `tiny.gguf`.
pub(crate) fn sources(model: &Gguf) -> Vec<Rc<dyn ByteSource>> {
    vec![Rc::new(MemorySource::new("tiny.gguf", model.bytes()))]
}

/// Loads a model from a GGUF file in memory.
pub(crate) async fn load_gguf(model: &Gguf, options: &LoadOptions) -> Engine {
    Engine::load(sources(model), options, &mut |_| {}).await.unwrap()
}

/// A request for a greedy continuation.
pub(crate) fn greedy(prompt: Prompt, max_tokens: usize) -> GenerateRequest {
    GenerateRequest {
        prompt,
        max_tokens: Some(max_tokens),
        sampling: SamplerOptions { temperature: 0.0, ..SamplerOptions::default() },
        stop: Vec::new(),
        ignore_stop_tokens: false,
        top_logprobs: None,
        truncates: false,
    }
}

/// Tokens of a prompt; the first 250 differ from each other.
pub(crate) fn tokens(count: u32) -> Vec<u32> {
    (0..count).map(|i| (i * 37 + 11) % 250).collect()
}

/// Largest absolute difference between two vectors.
pub(crate) fn max_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Checks that each vector is close to the expected one, relative to its largest value.
pub(crate) fn assert_close(found: &[Vec<f32>], expected: &[Vec<f32>], what: &str) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        let largest = expected.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        let difference = max_difference(found, expected);
        assert!(
            largest > 0.0 && difference < 1e-4 * largest,
            "{what}: values up to {largest} differ by {difference}"
        );
    }
}

/// State of the sequence: the values of each buffer.
pub(crate) async fn state(engine: &Engine) -> Vec<Vec<f32>> {
    let layers = engine.state().await.unwrap();
    layers.into_iter().map(|layer| layer.values).collect()
}
