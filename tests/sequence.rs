//! Sequences: chunk sizes, resets, prefix reuse, aborted requests, recurrent state, costs of a
//! step.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use serde_json::json;

use common::engines::{
    assert_close, devices, greedy, has_gpu, load, load_gguf, max_difference, state, tokens,
};
use common::gguf::tiny_llama;
use common::nemotron_h::tiny_nemotron_h;
use common::{assert_contains, cache};
use tablm::cpu::CpuVariant;
use tablm::engine::{
    DeviceChoice, Engine, Event, GenerateRequest, LoadOptions, ProfileRequest, Prompt,
    log_probability,
};
use tablm::error::Code;
use tablm::formats::Format;
use tablm::kernels::{CacheFormat, Step};
use tablm::sampling::SamplerOptions;

/// A tiny Q4_K model.
const TINY: &str = "tiny-Q4_K-256.gguf";

fn options(device: DeviceChoice) -> LoadOptions {
    // An F16 cache could round values that differ in the last bit of f32 to different numbers.
    let kv_format = Some(CacheFormat::F32);
    let cpu_variant = Some(CpuVariant::Exact);
    LoadOptions {
        device,
        context_length: Some(256),
        kv_format,
        cpu_variant,
        ..LoadOptions::default()
    }
}

#[test]
fn chunk_size_does_not_change_logits() {
    pollster::block_on(async {
        let tokens = tokens(150);
        for device in devices().await {
            let models = [(cache::derived(TINY), true, 150), (cache::smollm2(), false, 34)];
            for (path, all_logits, count) in models {
                let mut expected: Option<Vec<f32>> = None;
                for chunk in [count, 64, 7, 1].into_iter().filter(|chunk| *chunk <= count) {
                    let options = LoadOptions { chunk: Some(chunk), all_logits, ..options(device) };
                    let mut engine = load(&path, options).await;
                    let found = engine.logits(&tokens[..count as usize]).await.unwrap();
                    let expected = expected.get_or_insert_with(|| found.clone());
                    let difference = max_difference(expected, &found);
                    assert!(
                        difference < 1e-4,
                        "{device:?}, chunk {chunk}: logits differ by {difference}"
                    );
                }
            }
        }
    });
}

/// Ids of a greedy answer of 12 tokens.
/// Token ids of the request that runs, once it is done.
async fn rest_of_answer(engine: &mut Engine) -> Vec<u32> {
    loop {
        if let Event::Done(completion) = engine.next().await.unwrap() {
            return completion.token_ids;
        }
    }
}

async fn ids(engine: &mut Engine, prompt: Vec<u32>) -> Vec<u32> {
    engine.generate(&greedy(Prompt::Tokens(prompt), 12), |_| {}).await.unwrap().token_ids
}

#[test]
fn reset_engine_repeats_its_output() {
    pollster::block_on(async {
        for device in devices().await {
            let mut engine = load(&cache::derived(TINY), options(device)).await;
            let first = engine.logits(&tokens(70)).await.unwrap();
            engine.logits(&tokens(33)).await.unwrap();
            assert_eq!(engine.logits(&tokens(70)).await.unwrap(), first);
            let answer = ids(&mut engine, tokens(20)).await;
            engine.reset();
            assert_eq!(ids(&mut engine, tokens(20)).await, answer);
        }
    });
}

#[test]
fn profile_counts_every_kernel_and_preserves_the_engine() {
    pollster::block_on(async {
        for device in devices().await {
            let mut engine = load(&cache::derived(TINY), options(device)).await;
            let expected = engine.logits(&tokens(70)).await.unwrap();
            let before = engine.info();
            let profile = engine.profile_briefly().await.unwrap();
            let [decode, prefill] = &profile.steps[..] else {
                panic!("{} steps", profile.steps.len())
            };
            assert_eq!((decode.rows, decode.position), (1, 255));
            assert_eq!((prefill.rows, prefill.position), (64, 0));
            for step in &profile.steps {
                let shares: f64 = step.kernels.iter().map(|kernel| kernel.time_share).sum();
                assert!((shares - 1.0).abs() < 1e-6 && step.whole_us > 0.0, "{device:?}: {step:?}");
                let bytes: u64 = step.kernels.iter().map(|kernel| kernel.bytes).sum();
                assert!(bytes >= before.step.weight_bytes, "{device:?}: {bytes} bytes");
                let operations: u64 = step.kernels.iter().map(|kernel| kernel.operations).sum();
                assert!(operations > u64::from(step.rows) * 100_000, "{device:?}: {operations}");
            }
            let peak_gpu_bytes = engine.info().memory.peak_gpu_bytes;
            assert_eq!(peak_gpu_bytes, before.memory.peak_gpu_bytes, "{device:?}");
            assert_eq!(engine.logits(&tokens(70)).await.unwrap(), expected, "{device:?}");
        }
    });
}

#[test]
fn profile_selects_kernels_by_name() {
    pollster::block_on(async {
        for device in devices().await {
            let mut engine = load(&cache::derived(TINY), options(device)).await;
            let steps = vec![Step { position: 0, rows: 1 }, Step { position: 0, rows: 64 }];
            let request = |name: &str| ProfileRequest {
                steps: steps.clone(),
                runs: 1,
                limit_ms: 0.0,
                kernels: name.to_owned(),
            };
            // A decode step has `matvec` kernels instead.
            let profile = engine.profile(&request("matmul")).await.unwrap();
            let [decode, prefill] = &profile.steps[..] else { panic!("expected two steps") };
            assert!(decode.kernels.is_empty(), "{device:?}: {decode:?}");
            assert!(!prefill.kernels.is_empty(), "{device:?}: {prefill:?}");
            let error = engine.profile(&request("nothing")).await.unwrap_err();
            assert_contains(error.message(), &["kernels", "nothing"]);
        }
    });
}

#[test]
fn prefix_is_not_read_again_and_does_not_change_the_answer() {
    pollster::block_on(async {
        for device in devices().await {
            let options = LoadOptions { chunk: Some(16), ..options(device) };
            let mut engine = load(&cache::derived(TINY), options).await;
            let fresh = ids(&mut engine, tokens(100)).await;
            engine.reset();
            ids(&mut engine, tokens(90)).await;
            engine.begin(&greedy(Prompt::Tokens(tokens(100)), 12)).unwrap();
            // Ten tokens are one chunk; all of the prompt would be seven, each with an event.
            let first = engine.next().await.unwrap();
            assert!(matches!(first, Event::Token(_)), "{device:?}: {first:?}");
            assert_eq!(rest_of_answer(&mut engine).await, fresh, "{device:?}");
        }
    });
}

#[test]
fn engine_answers_as_before_after_an_abort() {
    pollster::block_on(async {
        for device in devices().await {
            let options = LoadOptions { chunk: Some(16), ..options(device) };
            let mut engine = load(&cache::derived(TINY), options).await;
            let expected = ids(&mut engine, tokens(100)).await;
            // Abort during the prefill, and after some tokens.
            for steps in [1, 9] {
                engine.reset();
                engine.begin(&greedy(Prompt::Tokens(tokens(100)), 50)).unwrap();
                for _ in 0..steps {
                    engine.next().await.unwrap();
                }
                engine.stop();
                let Event::Done(completion) = engine.next().await.unwrap() else {
                    panic!("expected the end of the answer")
                };
                assert_eq!(completion.finish_reason, "abort");
                let found = ids(&mut engine, tokens(100)).await;
                assert_eq!(found, expected, "{device:?} after {steps} steps");
            }
            // The next request replaces one that is still running.
            engine.begin(&greedy(Prompt::Tokens(tokens(60)), 50)).unwrap();
            engine.next().await.unwrap();
            let found = ids(&mut engine, tokens(100)).await;
            assert_eq!(found, expected, "{device:?} after a replaced request");
        }
    });
}

#[test]
fn memory_and_pipelines_do_not_grow_over_100_requests() {
    pollster::block_on(async {
        for device in devices().await {
            let mut engine = load(&cache::derived(TINY), options(device)).await;
            let resources =
                |engine: &Engine| (engine.info().memory.peak_gpu_bytes, engine.info().pipelines);
            let before = resources(&engine);
            for i in 0..100 {
                ids(&mut engine, tokens(5 + i % 40)).await;
            }
            assert_eq!(resources(&engine), before);
        }
    });
}

#[test]
fn context_length_bounds_prompt_and_answer() {
    pollster::block_on(async {
        let mut engine = load(&cache::derived(TINY), options(DeviceChoice::Cpu)).await;
        let error = engine.begin(&greedy(Prompt::Tokens(tokens(257)), 1)).unwrap_err();
        assert_eq!(error.code(), Code::ContextFull);
        assert_contains(error.message(), &["257", "256"]);
        let completion =
            engine.generate(&greedy(Prompt::Tokens(tokens(250)), 50), |_| {}).await.unwrap();
        assert_eq!((completion.finish_reason, completion.token_ids.len()), ("length", 7));
    });
}

#[test]
fn invalid_requests_are_refused() {
    pollster::block_on(async {
        let mut engine = load(&cache::derived(TINY), options(DeviceChoice::Cpu)).await;
        let chat_without_list = Prompt::Chat {
            messages: json!("hello"),
            tools: None,
            thinking: None,
            variables: serde_json::Map::new(),
        };
        let cases = [
            greedy(Prompt::Tokens(Vec::new()), 1),
            greedy(Prompt::Tokens(vec![512]), 1),
            greedy(Prompt::Tokens(vec![u32::MAX]), 1),
            greedy(Prompt::Tokens(vec![1]), 0),
            greedy(chat_without_list, 1),
        ];
        for request in cases {
            let error = engine.begin(&request).unwrap_err();
            assert_eq!(error.code(), Code::InvalidRequest, "{request:?}: {error}");
        }
        assert_eq!(engine.next().await.unwrap_err().code(), Code::InvalidRequest);
    });
}

/// Loads a model with Mamba layers, whose recurrent state cannot be truncated.
async fn load_nemotron_h(pattern: &str, options: &LoadOptions) -> Engine {
    load_gguf(&tiny_nemotron_h(pattern), options).await
}

/// Logits, followed by the values of each state buffer.
async fn logits_and_state(engine: &mut Engine, tokens: &[u32]) -> Vec<Vec<f32>> {
    let logits = engine.logits(tokens).await.unwrap();
    let mut all = vec![logits];
    all.extend(state(engine).await);
    all
}

#[test]
fn chunk_size_does_not_change_recurrent_state() {
    pollster::block_on(async {
        let mut expected: Option<Vec<Vec<f32>>> = None;
        for device in devices().await {
            for chunk in [1, 7, 64, 200] {
                let options =
                    LoadOptions { chunk: Some(chunk), all_logits: true, ..options(device) };
                let mut engine = load_nemotron_h("M-*M", &options).await;
                let found = logits_and_state(&mut engine, &tokens(200)).await;
                let expected = expected.get_or_insert_with(|| found.clone());
                assert_close(&found, expected, &format!("{device:?}, chunk {chunk}"));
            }
        }
    });
}

#[test]
fn scan_does_not_drift_over_4000_tokens() {
    pollster::block_on(async {
        let tokens = tokens(4000);
        let mut expected: Option<Vec<Vec<f32>>> = None;
        for device in devices().await {
            for chunk in [512, 1] {
                let context_length = Some(4000);
                let options = LoadOptions { chunk: Some(chunk), context_length, ..options(device) };
                let mut engine = load_nemotron_h("M", &options).await;
                let found = logits_and_state(&mut engine, &tokens).await;
                let expected = expected.get_or_insert_with(|| found.clone());
                assert_close(&found, expected, &format!("{device:?}, chunk {chunk}"));
            }
        }
    });
}

#[test]
fn recurrent_state_is_reused_only_by_a_prompt_that_continues_it() {
    pollster::block_on(async {
        for device in devices().await {
            let options = LoadOptions { chunk: Some(16), ..options(device) };
            let mut engine = load_nemotron_h("M-*M", &options).await;
            let prompt = tokens(40);
            let answer = ids(&mut engine, prompt.clone()).await;
            // The sequence lacks the answer's last token, which no step has read.
            let sequence = [&prompt[..], &answer[..11]].concat();
            let continuation = [&sequence[..], &tokens(20)].concat();
            let branch = [&prompt[..30], &[5, 6, 7]].concat();
            for (next, is_reused) in
                [(&continuation, true), (&branch, false), (&sequence, false), (&prompt, false)]
            {
                engine.reset();
                let expected = ids(&mut engine, next.clone()).await;
                engine.reset();
                assert_eq!(ids(&mut engine, prompt.clone()).await, answer);
                engine.begin(&greedy(Prompt::Tokens(next.clone()), 12)).unwrap();
                let first = engine.next().await.unwrap();
                let after_chunk = if is_reused { sequence.len() + 16 } else { 16 };
                assert!(
                    matches!(first, Event::Prefill { done, .. } if done == after_chunk),
                    "{first:?}"
                );
                let found = rest_of_answer(&mut engine).await;
                assert_eq!(found, expected, "{device:?}");
            }
            // A request that is replaced, or aborted, within its prompt.
            for is_aborted in [false, true] {
                engine.begin(&greedy(Prompt::Tokens(tokens(60)), 5)).unwrap();
                engine.next().await.unwrap();
                if is_aborted {
                    engine.stop();
                    engine.next().await.unwrap();
                }
                assert_eq!(ids(&mut engine, prompt.clone()).await, answer, "{device:?}");
            }
        }
    });
}

#[test]
fn hybrid_execution_preserves_state_between_devices() {
    pollster::block_on(async {
        if !has_gpu().await {
            return;
        }
        for kv_format in CacheFormat::ALL {
            let options = LoadOptions {
                kv_format: Some(kv_format),
                chunk: Some(16),
                ..options(DeviceChoice::Hybrid)
            };
            let mut engine = load_gguf(&tiny_llama(64, Format::Q4_0), &options).await;
            let mut before: Vec<Vec<f32>> = Vec::new();
            // Token counts of prompts, and of their reused prefixes. The GPU reads 40 and 19
            // tokens; the CPU reads one token, the last of the 41 and of the 50.
            for (count, reused) in [(40, 0), (41, 40), (60, 41), (50, 49)] {
                engine.generate(&greedy(Prompt::Tokens(tokens(count)), 1), |_| {}).await.unwrap();
                let state = state(&engine).await;
                for (now, before) in state.iter().zip(&before) {
                    let what = format!("{kv_format:?}, {count} tokens");
                    let width = now.len() / 256;
                    let (start, end) = (reused * width, count as usize * width);
                    assert_eq!(now[..start], before[..start], "{what}");
                    assert!(now[start..end].iter().any(|value| *value != 0.0), "{what}");
                }
                before = state;
            }
        }
    });
}

#[test]
fn log_probabilities_are_those_of_the_logits_and_change_no_answer() {
    pollster::block_on(async {
        for device in devices().await {
            let mut engine = load(&cache::smollm2(), options(device)).await;
            let sampling = SamplerOptions {
                temperature: 0.9,
                seed: 3,
                repetition_penalty: 1.5,
                ..SamplerOptions::default()
            };
            let prompt = tokens(20);
            let request = GenerateRequest { sampling, ..greedy(Prompt::Tokens(prompt.clone()), 4) };
            let plain = engine.generate(&request, |_| {}).await.unwrap();
            assert_eq!(plain.logprobs, []);
            let with_logprobs = GenerateRequest { top_logprobs: Some(3), ..request };
            let found = engine.generate(&with_logprobs, |_| {}).await.unwrap();
            assert_eq!(found.token_ids, plain.token_ids, "{device:?}");
            assert_eq!(found.logprobs.len(), found.token_ids.len());
            let mut read = prompt;
            for (token, found) in found.token_ids.into_iter().zip(found.logprobs) {
                let logits = engine.logits(&read).await.unwrap();
                let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
                let logit = |id: u32| logits[id as usize];
                ids.sort_by(|a, b| logit(*b).total_cmp(&logit(*a)));
                let top = &found.top_logprobs;
                assert_eq!(top.iter().map(|top| top.id).collect::<Vec<_>>(), ids[..3]);
                assert_eq!(found.generated.id, token);
                for one in top.iter().chain([&found.generated]) {
                    let expected = log_probability(&logits, one.id).unwrap();
                    assert!((one.logprob - expected).abs() < 1e-4, "{device:?}: {one:?}");
                    assert_eq!(one.token, String::from_utf8_lossy(&one.bytes), "{one:?}");
                    assert!(!one.bytes.is_empty());
                }
                read.push(token);
            }
        }
    });
}

#[test]
fn decode_step_takes_one_submission_and_writes_no_buffer() {
    pollster::block_on(async {
        if !has_gpu().await {
            return;
        }
        let mut engine = load_nemotron_h("M-*M", &options(DeviceChoice::WebGpu)).await;
        for temperature in [0.0, 0.7] {
            let sampling = SamplerOptions { temperature, ..SamplerOptions::default() };
            let request = GenerateRequest { sampling, ..greedy(Prompt::Tokens(tokens(40)), 8) };
            engine.generate(&request, |_| {}).await.unwrap();
            let step = engine.info().step.counters;
            let found = [
                step.submits,
                step.bind_groups_created,
                step.write_buffer_bytes,
                step.readback_bytes,
            ];
            assert_eq!(found, [1, 0, 0, 16]);
            assert!(step.dispatches > 8 && step.encode_us > 0.0, "{step:?}");
        }
    });
}
