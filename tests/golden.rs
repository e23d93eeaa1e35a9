//! Real weights against Hugging Face transformers on the dequantized file in f32:
//! SmolLM2-135M-Instruct (`hf_f32` in `tests/data/golden/smollm2.json`) and Gemma 3 270M
//! (`tests/data/golden/gemma3.json`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use serde_json::Value;

use common::cache;
use common::engines::{devices, greedy, has_gpu, load};
use common::files::env_variable;
use tablm::cpu::CpuVariant;
use tablm::engine::{DeviceChoice, Engine, LoadOptions, Prompt, log_probability, normalized_error};
use tablm::kernels::{Arithmetic, CacheFormat, MatvecStrategy};

/// True if all prompts are compared (`make proof`), false for a sample.
fn is_proof() -> bool {
    env_variable("TABLM_PROOF").as_deref() == Some("1")
}

/// Difference below which two logits tie: the greedy choice may be either token.
const TIE: f32 = 1e-3;
/// Bound of errors of log-probabilities with a KV cache in f16. Largest error seen: 5.1e-3.
const F16_CACHE_TOLERANCE: f64 = 1e-2;

/// The reference results for SmolLM2.
fn smollm2_reference() -> Value {
    read_reference("smollm2.json")
}

fn read_reference(name: &str) -> Value {
    let path = format!("{}/tests/data/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

/// Name, messages, prompt ids and reference results of every prompt.
fn prompts(golden: &Value) -> Vec<(String, Value, Vec<u32>, Value)> {
    let prompt = |prompt: &Value| {
        let id = prompt["id"].as_str().unwrap().to_owned();
        let reference = golden["hf_f32"]["prompts"][&id].clone();
        assert!(reference.is_object(), "{id} has no f32 reference");
        (id, prompt["messages"].clone(), ids(&prompt["prompt_ids"]), reference)
    };
    golden["prompts"].as_array().unwrap().iter().map(prompt).collect()
}

fn chat(messages: &Value) -> Prompt {
    Prompt::Chat {
        messages: messages.clone(),
        tools: None,
        thinking: None,
        variables: serde_json::Map::new(),
    }
}

/// Checks that the engine's greedy answer has the ids of the reference, up to a step at which the
/// logits of the two tokens tie.
async fn check_greedy(
    engine: &mut Engine,
    name: &str,
    prompt: Prompt,
    prompt_ids: &[u32],
    reference: &Value,
) {
    let expected = ids(&reference["gen_ids"]);
    let found = engine.generate(&greedy(prompt, expected.len()), |_| {}).await.unwrap();
    assert_eq!(found.prompt_token_ids, prompt_ids, "{name}: the prompt's ids");
    let mut pairs = found.token_ids.iter().zip(&expected);
    let Some(step) = pairs.position(|(found, expected)| found != expected) else {
        assert_eq!(found.token_ids.len(), expected.len(), "{name}: length of the answer");
        return;
    };
    let context = [prompt_ids, &expected[..step]].concat();
    let logits = engine.logits(&context).await.unwrap();
    let (found, expected) = (found.token_ids[step] as usize, expected[step] as usize);
    let gap = logits[found] - logits[expected];
    let difference =
        format!("{name}: step {step}: found {found}, expected {expected}, logits differ by {gap}");
    println!("{difference}");
    assert!(gap < TIE, "{difference}");
}

/// Checks the log-probabilities of the reference's ten likeliest first tokens.
async fn check_first_token(
    engine: &mut Engine,
    name: &str,
    prompt: &[u32],
    reference: &Value,
    tolerance: f64,
) {
    let logits = engine.logits(prompt).await.unwrap();
    for entry in reference["first_top10"].as_array().unwrap() {
        let (token, expected) = (entry[0].as_u64().unwrap() as u32, entry[1].as_f64().unwrap());
        let found = log_probability(&logits, token).unwrap();
        let error = (found - expected).abs();
        assert!(error < tolerance, "{name}: token {token}: found {found}, expected {expected}");
    }
}

/// Checks first tokens and greedy answers of the selected prompts, or of all if `only` is empty.
async fn check_prompts(engine: &mut Engine, only: &[&str], tolerance: f64) {
    let golden = smollm2_reference();
    for (name, messages, prompt, reference) in prompts(&golden) {
        if only.is_empty() || only.contains(&name.as_str()) {
            check_first_token(engine, &name, &prompt, &reference, tolerance).await;
            check_greedy(engine, &name, chat(&messages), &prompt, &reference).await;
        }
    }
}

#[test]
fn greedy_ids_equal_the_reference() {
    let only: &[&str] = if is_proof() { &[] } else { &["capital", "code"] };
    pollster::block_on(async {
        for device in devices().await {
            let options =
                LoadOptions { device, context_length: Some(1024), ..LoadOptions::default() };
            let mut engine = load(&cache::smollm2(), options).await;
            check_prompts(&mut engine, only, F16_CACHE_TOLERANCE).await;
        }
    });
}

#[test]
fn greedy_ids_of_hybrid_execution_equal_the_reference() {
    pollster::block_on(async {
        if !has_gpu().await {
            return;
        }
        let (device, cpu_variant) = (DeviceChoice::Hybrid, Some(CpuVariant::best()));
        let options = LoadOptions {
            device,
            cpu_variant,
            context_length: Some(1024),
            ..LoadOptions::default()
        };
        let mut engine = load(&cache::smollm2(), options).await;
        check_prompts(&mut engine, &["capital"], F16_CACHE_TOLERANCE).await;
    });
}

/// Checks the perplexity of the reference's paragraph.
async fn check_perplexity(engine: &mut Engine, name: &str, golden: &Value) {
    let paragraph = ids(&golden["paragraph"]["ids"]);
    let text = golden["paragraph"]["text"].as_str().unwrap();
    assert_eq!(engine.text().raw_ids(text).unwrap(), paragraph);
    let logits = engine.logits(&paragraph[..paragraph.len() - 1]).await.unwrap();
    let rows = logits.chunks(engine.info().vocabulary_size as usize).zip(&paragraph[1..]);
    let nll: f64 = rows.map(|(row, token)| -log_probability(row, *token).unwrap()).sum();
    let found = (nll / (paragraph.len() - 1) as f64).exp();
    let expected = golden["hf_f32"]["paragraph"]["ppl"].as_f64().unwrap();
    println!("{name}: perplexity {found:.4}, reference {expected}");
    assert!((found / expected - 1.0).abs() < 1e-3, "{name}: found {found}, expected {expected}");
}

#[test]
fn perplexity_equals_the_reference() {
    pollster::block_on(async {
        let golden = smollm2_reference();
        for device in devices().await {
            let options = LoadOptions {
                device,
                context_length: Some(512),
                all_logits: true,
                ..LoadOptions::default()
            };
            let mut engine = load(&cache::smollm2(), options).await;
            check_perplexity(&mut engine, &format!("{device:?}"), &golden).await;
        }
    });
}

/// The fastest variant of this processor may round the inputs of products to int8.
#[test]
fn fastest_cpu_variant_is_close_to_the_reference() {
    pollster::block_on(async {
        let golden = smollm2_reference();
        let options = LoadOptions {
            device: DeviceChoice::Cpu,
            cpu_variant: Some(CpuVariant::best()),
            context_length: Some(1024),
            all_logits: true,
            ..LoadOptions::default()
        };
        let mut engine = load(&cache::smollm2(), options).await;
        let vocabulary_size = engine.info().vocabulary_size as usize;
        let mut errors = Vec::new();
        for (_, _, prompt, reference) in prompts(&golden) {
            let answer = ids(&reference["gen_ids"]);
            let tokens = [&prompt[..], &answer[..answer.len() - 1]].concat();
            let logits = engine.logits(&tokens).await.unwrap();
            let rows = logits.chunks(vocabulary_size).skip(prompt.len() - 1);
            let log_probabilities = reference["gen_lp"].as_array().unwrap();
            for ((row, token), expected) in rows.zip(&answer).zip(log_probabilities) {
                let found = log_probability(row, *token).unwrap();
                errors.push((found - expected.as_f64().unwrap()).abs());
            }
        }
        let mean = errors.iter().sum::<f64>() / errors.len() as f64;
        let largest = errors.iter().copied().fold(0.0, f64::max);
        println!("{} steps: mean error {mean:.4}, largest {largest:.4}", errors.len());
        assert!(errors.len() > 200 && mean < 2e-3 && largest < 2e-2, "{mean}, {largest}");
        check_perplexity(&mut engine, CpuVariant::best().name(), &golden).await;
    });
}

/// Log-probabilities of the paragraph's first tokens. Chunks of 4 rows run as matrix-vector
/// products.
#[test]
fn rounding_matvec_strategies_are_close_to_the_reference() {
    // Bounds of the mean error, the largest error and the error of the perplexity: three times the
    // errors seen.
    let bounds = |strategy: MatvecStrategy| match strategy.arithmetic {
        Arithmetic::F16 => [1e-2, 3e-2, 1e-3],
        // With Int10x2, 1.3e-2, 9.3e-2 and 6e-4 were seen over the whole paragraph.
        _ => [0.05, 0.3, 2.5e-2],
    };
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    pollster::block_on(async {
        let Some(gpu) = common::gpu().await else { return };
        let golden = smollm2_reference();
        let tokens = &ids(&golden["paragraph"]["ids"])[..33];
        let expected = golden["hf_f32"]["paragraph"]["nll"].as_array().unwrap();
        let expected: Vec<f64> =
            expected[..tokens.len() - 1].iter().map(|nll| nll.as_f64().unwrap()).collect();
        let is_tested = |strategy: &MatvecStrategy| {
            *strategy != strategy.without_rounding()
                && strategy.missing_feature(&gpu.report.features).is_none()
        };
        for strategy in MatvecStrategy::ALL.into_iter().filter(is_tested) {
            let options = LoadOptions {
                device: DeviceChoice::WebGpu,
                context_length: Some(64),
                chunk: Some(4),
                all_logits: true,
                strategy: Some(strategy),
                ..LoadOptions::default()
            };
            let mut engine = load(&cache::smollm2(), options).await;
            let logits = engine.logits(&tokens[..tokens.len() - 1]).await.unwrap();
            let rows = logits.chunks(engine.info().vocabulary_size as usize).zip(&tokens[1..]);
            let found: Vec<f64> =
                rows.map(|(row, token)| -log_probability(row, *token).unwrap()).collect();
            let pairs = found.iter().zip(&expected);
            let differences: Vec<f64> = pairs.map(|(a, b)| (a - b).abs()).collect();
            let largest = differences.iter().copied().fold(0.0, f64::max);
            let perplexity = (mean(&found) - mean(&expected)).exp() - 1.0;
            let errors = [mean(&differences), largest, perplexity.abs()];
            println!("{}: {errors:?}", strategy.name());
            let is_close = errors.iter().zip(bounds(strategy)).all(|(error, bound)| *error < bound);
            assert!(is_close, "{}: {errors:?}, bounds {:?}", strategy.name(), bounds(strategy));
        }
    });
}

#[test]
fn safetensors_in_f32_and_bf16_equal_the_reference() {
    pollster::block_on(async {
        for device in devices().await {
            let options =
                LoadOptions { device, context_length: Some(512), ..LoadOptions::default() };
            // Other tests run these weights on all prompts; few suffice for another file format.
            let only: &[&str] = if is_proof() { &["capital", "code"] } else { &["capital"] };
            let mut engine =
                load(&cache::derived("SmolLM2-135M-Instruct-F32"), options.clone()).await;
            check_prompts(&mut engine, only, 2e-3).await;
            drop(engine);
            let mut engine = load(&cache::derived("SmolLM2-135M-Instruct-BF16"), options).await;
            for (name, _, prompt, reference) in prompts(&smollm2_reference()) {
                if only.contains(&name.as_str()) {
                    check_first_token(&mut engine, &name, &prompt, &reference, 0.05).await;
                }
            }
        }
    });
}

/// Logits of one prompt on every device.
async fn logits_on_all_devices(path: &std::path::Path, tokens: &[u32]) -> Vec<Vec<f32>> {
    let mut all = Vec::new();
    for device in devices().await {
        let kv_format = Some(CacheFormat::F32);
        let options =
            LoadOptions { device, context_length: Some(256), kv_format, ..LoadOptions::default() };
        all.push(load(path, options).await.logits(tokens).await.unwrap());
    }
    all
}

#[test]
fn devices_agree_on_requantized_models() {
    pollster::block_on(async {
        let tokens = &ids(&smollm2_reference()["paragraph"]["ids"])[..40];
        for format in ["Q8_0", "Q4_0", "Q5_0", "Q5_1"] {
            let path = cache::derived(&format!("SmolLM2-135M-Instruct.{format}.gguf"));
            let all = logits_on_all_devices(&path, tokens).await;
            for found in &all[1..] {
                let error = normalized_error(&all[0], found);
                println!("{format}: normalized error {error:e}");
                assert!(error < 1e-10, "{format}: {error:e}");
            }
        }
    });
}

#[test]
fn k_quants_equal_their_dequantized_f32_models() {
    pollster::block_on(async {
        let tokens: Vec<u32> = (0..70).map(|i| i * 7 % 500).collect();
        for format in ["Q4_K", "Q5_K", "Q6_K"] {
            for width in [256, 512] {
                let name = format!("tiny-{format}-{width}");
                let quantized = cache::derived(&format!("{name}.gguf"));
                let dequantized = cache::derived(&format!("{name}.F32.gguf"));
                let mut all = logits_on_all_devices(&quantized, &tokens).await;
                all.extend(logits_on_all_devices(&dequantized, &tokens).await);
                for found in &all[1..] {
                    let error = normalized_error(&all[0], found);
                    assert!(error < 1e-10, "{name}: {error:e}");
                }
            }
        }
    });
}

/// A SentencePiece vocabulary of 262,144 tokens, an embedding matrix larger than a binding, and
/// Gemma's kernels. The base model has no chat template.
#[test]
fn gemma3_equals_the_reference() {
    pollster::block_on(async {
        let golden = read_reference("gemma3.json");
        for device in devices().await {
            let options =
                LoadOptions { device, context_length: Some(128), ..LoadOptions::default() };
            let mut engine = load(&cache::gemma3(), options).await;
            // One prompt suffices for the GPU, which runs the same kernels for each.
            let all = device == DeviceChoice::Cpu && is_proof();
            for (name, prompt) in golden["prompts"].as_object().unwrap() {
                if all || name == "capital" {
                    let text = Prompt::Raw(prompt["text"].as_str().unwrap().to_owned());
                    let prompt_ids = ids(&prompt["ids"]);
                    let tolerance = F16_CACHE_TOLERANCE;
                    check_first_token(&mut engine, name, &prompt_ids, prompt, tolerance).await;
                    check_greedy(&mut engine, name, text, &prompt_ids, prompt).await;
                }
            }
            for pair in golden["texts"].as_array().unwrap() {
                let (text, expected) = (pair[0].as_str().unwrap(), ids(&pair[1]));
                let tokenizer = &engine.text().tokenizer;
                assert_eq!(tokenizer.encode(text).unwrap(), expected, "{text:?}");
            }
        }
    });
}
