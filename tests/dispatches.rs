//! Dispatches of a decode step after fusion, layer by layer, for every architecture.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::{cache, files};
use tablm::engine::{LoadOptions, plans};
use tablm::kernels::Step;
use tablm::plan::Plan;

/// Position of the step: attention runs in several splits.
const POSITION: u32 = 500;

/// Kernels of a layer with attention and a gated feed-forward layer.
const LLAMA: &[&str] = &["matvec", "attention", "attention_merge", "matvec", "matvec", "matvec"];

/// Kernels of a Gemma layer, which has norms after attention and feed-forward layer as well.
const GEMMA: &[&str] = &[
    "matvec",
    "attention",
    "attention_merge",
    "matvec",
    "rms_norm",
    "matvec",
    "matvec",
    "rms_norm",
];

/// Plans of encoders: a text is one step.
#[test]
fn encoders() {
    const BERT: &[&str] =
        &["matmul", "attention", "matmul", "layer_norm", "matmul", "matmul", "layer_norm"];
    for (model, layer_count, embedding, layer, head) in [
        ("bert-mean", 3, &["embed", "add", "add", "layer_norm"][..], BERT, &["mean_rows"][..]),
        ("bert-cls", 2, &["embed", "add", "add", "layer_norm"], BERT, &[]),
    ] {
        let options = LoadOptions { context_length: Some(100), ..LoadOptions::default() };
        let plans = plans(files::open(&cache::embeddings(model)), &options, u32::MAX.into());
        let plans = pollster::block_on(plans).unwrap();
        let plan = plans.iter().find(|plan| plan.capacity == 100).unwrap();
        assert_eq!(dispatched(plan, "embedding "), [embedding, head].concat(), "{model}");
        for index in 0..layer_count {
            assert_eq!(dispatched(plan, &format!("layer {index} ")), layer, "{model}: {index}");
        }
    }
}

/// The plan of a decode step of a tiny model.
fn decode_plan(model: &str) -> Plan {
    let options = LoadOptions { context_length: Some(600), ..LoadOptions::default() };
    let plans = plans(files::open(&cache::tiny(model)), &options, u32::MAX.into());
    let plans = pollster::block_on(plans).unwrap_or_else(|error| panic!("{model}: {error}"));
    plans.into_iter().find(|plan| plan.capacity == 1).unwrap()
}

/// Names of the kernels that a decode step dispatches and whose labels begin with `prefix`.
fn dispatched<'a>(plan: &'a Plan, prefix: &str) -> Vec<&'a str> {
    let step = Step { position: POSITION, rows: 1 };
    let kernels = plan.kernels.iter().filter(|planned| planned.label.starts_with(prefix));
    let kernels = kernels.filter(|planned| !planned.kernel.workgroups(step).contains(&0));
    kernels.map(|planned| planned.kernel.name()).collect()
}

/// Checks the kernels of a model's embedding, layers and head.
fn check(model: &str, layers: &[&[&str]], head: &[&str]) {
    let plan = decode_plan(model);
    assert_eq!(dispatched(&plan, "embedding "), ["embed"], "{model}: embedding");
    for (layer, expected) in layers.iter().enumerate() {
        let found = dispatched(&plan, &format!("layer {layer} "));
        assert_eq!(&found, expected, "{model}: layer {layer}");
    }
    assert_eq!(dispatched(&plan, "head "), head, "{model}: head");
    let all = 1 + layers.iter().map(|layer| layer.len()).sum::<usize>() + head.len();
    assert_eq!(dispatched(&plan, "").len(), all, "{model}: all kernels");
}

#[test]
fn llama() {
    check("llama-tied", &[LLAMA; 2], &["matvec"]);
    check("llama-biases", &[LLAMA; 2], &["matvec"]);
}

#[test]
fn qwen2() {
    check("qwen2-untied", &[LLAMA; 2], &["matvec"]);
}

#[test]
fn qwen3() {
    check("qwen3-tied", &[LLAMA; 3], &["matvec"]);
}

#[test]
fn smollm3() {
    check("smollm3-default", &[LLAMA; 5], &["matvec"]);
}

#[test]
fn granite() {
    check("granite-tied", &[LLAMA; 3], &["matvec"]);
}

#[test]
fn phi3() {
    check("phi3-partial", &[LLAMA; 3], &["matvec"]);
}

/// Queries whose factor grows with their position have a table of their own, and so a rotation
/// that the product does not compute.
#[test]
fn mistral3() {
    check("mistral3-short", &[LLAMA; 2], &["matvec"]);
}

#[test]
fn phi2() {
    let attention = ["layer_norm", "matvec", "attention", "attention_merge"];
    let layer = [&attention[..], &["matvec"; 3]].concat();
    check("phi-parameters", &[&layer[..]; 2], &["layer_norm", "matvec"]);
}

/// The product of queries and keys computes their norms. A norm after attention or feed-forward
/// adds the residual and computes the sums of squares for the next norm.
#[test]
fn gemma2_and_gemma3() {
    for (model, layers) in [("gemma2-window", 4), ("gemma3-pattern", 7)] {
        check(model, &vec![GEMMA; layers], &["matvec"]);
    }
}

/// An LFM2 layer with a short convolution.
const CONVOLUTION: &[&str] = &["matvec", "short_conv", "matvec", "matvec", "matvec"];

#[test]
fn lfm2() {
    check("lfm2-types", &[CONVOLUTION, LLAMA, CONVOLUTION, LLAMA], &["matvec"]);
}

/// The product of queries, keys and values computes the gates of the heads, and attention applies
/// them.
#[test]
fn lfm3() {
    const SANDWICHED: &[&str] =
        &["matvec", "short_conv", "matvec", "rms_norm", "matvec", "matvec", "rms_norm"];
    let layers = [SANDWICHED, SANDWICHED, GEMMA, SANDWICHED, GEMMA, SANDWICHED, GEMMA];
    check("lfm3-pattern", &layers, &["matvec"]);
    check("lfm3-heads", &[LLAMA, CONVOLUTION, LLAMA], &["matvec"]);
}

#[test]
fn granitehybrid() {
    const MIXER: &[&str] = &["matvec", "ssm_step", "matvec", "matvec", "matvec"];
    check("granitehybrid-hub", &[MIXER, MIXER, LLAMA, MIXER], &["matvec"]);
}

/// Attention and mixer read the same norm, and the last of them computes the next one.
#[test]
fn falcon_h1() {
    let layer = [&["matvec", "ssm_step", "matvec"], LLAMA].concat();
    check("falcon_h1-plain", &[&layer[..]; 3], &["matvec"]);
}

#[test]
fn exaone4() {
    check("exaone4-plain", &[GEMMA; 3], &["matvec"]);
}

#[test]
fn ernie4_5() {
    check("ernie4_5-tied", &[LLAMA; 3], &["matvec"]);
}

#[test]
fn nemotron_h() {
    let mixer = &["matvec", "ssm_step", "matvec"][..];
    let (feed_forward, attention) = (&["matvec"; 2][..], &LLAMA[..4]);
    check("nemotron_h-mlp_first", &[feed_forward, mixer, attention, feed_forward], &["matvec"]);
}
