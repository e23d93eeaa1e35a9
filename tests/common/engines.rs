//! Loaded models for tests.

use std::path::Path;

use tablm::cpu::CpuVariant;
use tablm::engine::{DeviceChoice, Engine, GenerateRequest, LoadOptions, Prompt};
use tablm::text::sampler::SamplerOptions;

/// The executors to test: both, or only the CPU where `ALLOW_NO_GPU=1` and there is no adapter.
pub(crate) async fn devices() -> Vec<DeviceChoice> {
    match super::gpu().await {
        Some(_) => vec![DeviceChoice::Cpu, DeviceChoice::Gpu],
        None => vec![DeviceChoice::Cpu],
    }
}

/// On the CPU by the kernels' meaning, unless asked for another way: most tests compare with it.
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
