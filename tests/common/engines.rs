//! Loaded models for tests.

use std::path::Path;

use tablm::cpu::CpuVariant;
use tablm::engine::{DeviceChoice, Engine, GenerateRequest, LoadOptions, Prompt};
use tablm::sampling::SamplerOptions;

/// The executors to test: both, or only the CPU where `ALLOW_NO_GPU=1` and there is no adapter.
pub(crate) async fn devices() -> Vec<DeviceChoice> {
    match super::gpu().await {
        Some(_) => vec![DeviceChoice::Cpu, DeviceChoice::WebGpu],
        None => vec![DeviceChoice::Cpu],
    }
}

/// Loads a model; on the CPU with the kernels' references unless the options say otherwise.
pub(crate) async fn load(path: &Path, mut options: LoadOptions) -> Engine {
    options.cpu_variant.get_or_insert(CpuVariant::Exact);
    let engine = Engine::load(super::files::open(path), &options, &mut |_| {}).await;
    engine.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Greedy continuation.
pub(crate) fn greedy(prompt: Prompt, max_tokens: usize) -> GenerateRequest {
    GenerateRequest {
        prompt,
        max_tokens: Some(max_tokens),
        sampling: SamplerOptions { temperature: 0.0, ..SamplerOptions::default() },
        stop: Vec::new(),
        ignore_stop_tokens: false,
    }
}

/// Tokens of a prompt, all different for a while.
pub(crate) fn tokens(count: u32) -> Vec<u32> {
    (0..count).map(|i| (i * 37 + 11) % 250).collect()
}

/// Largest distance between two lists of numbers.
pub(crate) fn furthest(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Asserts that every list is close to the expected one, relative to its largest number.
pub(crate) fn assert_same(found: &[Vec<f32>], expected: &[Vec<f32>], what: &str) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        let size = expected.iter().fold(0.0f32, |size, word| size.max(word.abs()));
        let distance = furthest(found, expected);
        assert!(size > 0.0 && distance < 1e-4 * size, "{what}: {distance} of {size} apart");
    }
}

/// State of the sequence, buffer by buffer.
pub(crate) async fn state(engine: &Engine) -> Vec<Vec<f32>> {
    let layers = engine.state().await.unwrap();
    layers.into_iter().map(|layer| layer.values).collect()
}
