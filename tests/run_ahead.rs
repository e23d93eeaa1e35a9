//! Run-ahead decoding: answers and later states equal those of decoding with sampling on the host.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::engines::{assert_close, greedy, has_gpu, load_gguf, state, tokens};
use common::gguf::{Gguf, tiny_llama};
use common::nemotron_h::tiny_nemotron_h;
use tablm::cpu::CpuVariant;
use tablm::engine::{
    Completion, DeviceChoice, Engine, Event, GenerateRequest, LoadOptions, Prompt, TestSwitches,
};
use tablm::formats::Format;
use tablm::sampling::SamplerOptions;

/// Results of a request and of one that continues its conversation.
struct Outcome {
    ids: Vec<u32>,
    text: String,
    finish_reason: &'static str,
    /// Ids of the second answer.
    second_ids: Vec<u32>,
    /// State after the second answer.
    state: Vec<Vec<f32>>,
}

/// A request, and the expected reason of its end.
struct Case {
    name: &'static str,
    finish_reason: &'static str,
    request: GenerateRequest,
    /// Tokens after which the request is aborted.
    abort_after: Option<usize>,
}

/// Runs the request of a case, and a second one whose prompt continues the answer.
async fn run(engine: &mut Engine, case: &Case) -> Outcome {
    engine.reset();
    engine.begin(&case.request).unwrap();
    let mut count = 0;
    let completion = loop {
        match engine.next().await.unwrap() {
            Event::Prefill { .. } => {}
            Event::Token(_) => count += 1,
            Event::Done(completion) => break completion,
        }
        if case.abort_after == Some(count) {
            engine.stop();
        }
    };
    let Completion { token_ids, text, finish_reason, prompt_token_ids, .. } = *completion;
    let mut prompt = [prompt_token_ids, token_ids.clone(), tokens(5)].concat();
    prompt.truncate(85);
    let second = GenerateRequest { ignore_stop_tokens: true, ..greedy(Prompt::Tokens(prompt), 12) };
    let second_ids = engine.generate(&second, |_| {}).await.unwrap().token_ids;
    Outcome { ids: token_ids, text, finish_reason, second_ids, state: state(engine).await }
}

async fn load(file: &Gguf, device: DeviceChoice, steps_ahead: usize) -> Engine {
    let options = LoadOptions {
        device,
        chunk: Some(16),
        context_length: Some(100),
        cpu_variant: Some(CpuVariant::Exact),
        test: TestSwitches { run_ahead: Some(steps_ahead), ..TestSwitches::default() },
        ..LoadOptions::default()
    };
    load_gguf(file, &options).await
}

/// Requests that end for every reason and sample in every way. Without further options, `length`
/// ends at its token limit with `answer`, which contains the token `end` and the text `stop`.
fn cases(length: &GenerateRequest, answer: &Completion, end: u32, stop: String) -> Vec<Case> {
    let case =
        |name, finish_reason, request| Case { name, finish_reason, request, abort_after: None };
    let penalties = SamplerOptions {
        frequency_penalty: 2.0,
        repetition_penalty: 1.25,
        logit_bias: vec![(end, -100.0), (answer.token_ids[0], 1.0)],
        ..length.sampling.clone()
    };
    let drawn = SamplerOptions {
        seed: 9,
        top_k: 40,
        top_p: 0.9,
        temperature: 0.8,
        ..SamplerOptions::default()
    };
    let with_stop_tokens = GenerateRequest { ignore_stop_tokens: false, ..length.clone() };
    let whole_context = GenerateRequest { max_tokens: None, ..length.clone() };
    let with_stop_string = GenerateRequest { stop: vec![stop], ..length.clone() };
    let sampled = |sampling| GenerateRequest { sampling, ..length.clone() };
    vec![
        case("length", "length", length.clone()),
        case("stop token", "stop", with_stop_tokens),
        case("end of the context", "length", whole_context),
        case("stop string", "stop", with_stop_string),
        Case { abort_after: Some(7), ..case("abort", "abort", length.clone()) },
        case("penalties", "length", sampled(penalties)),
        case("drawn", "length", sampled(drawn)),
    ]
}

#[test]
fn run_ahead_changes_neither_answers_nor_state() {
    pollster::block_on(async {
        if !has_gpu().await {
            return;
        }
        for file in [tiny_llama(64, Format::F32), tiny_nemotron_h("M-*M")] {
            let prompt = Prompt::Tokens(tokens(40));
            let length = GenerateRequest { ignore_stop_tokens: true, ..greedy(prompt, 20) };
            let mut host = load(&file, DeviceChoice::Cpu, 0).await;
            let answer = host.generate(&length, |_| {}).await.unwrap();
            // The stop token first occurs within the answer.
            let is_new = |id: &u32| !answer.token_ids[..5].contains(id);
            let end = answer.token_ids[5..15].iter().copied().find(is_new).unwrap();
            let middle = answer.text.chars().count() / 2;
            let stop = answer.text.chars().skip(middle).take(2).collect();
            let file = file.u32("tokenizer.ggml.eot_token_id", end);
            let mut engines = [
                ("CPU", load(&file, DeviceChoice::Cpu, 0).await),
                ("0 steps ahead", load(&file, DeviceChoice::WebGpu, 0).await),
                ("2 steps ahead", load(&file, DeviceChoice::WebGpu, 2).await),
                ("hybrid", load(&file, DeviceChoice::Hybrid, 0).await),
            ];
            for case in cases(&length, &answer, end, stop) {
                let mut outcomes = Vec::new();
                for (_, engine) in &mut engines {
                    outcomes.push(run(engine, &case).await);
                }
                let expected = &outcomes[0];
                assert_eq!(expected.finish_reason, case.finish_reason, "{}", case.name);
                assert!(expected.ids.len() > 4, "{}", case.name);
                for (found, (device, _)) in outcomes.iter().zip(&engines).skip(1) {
                    let what = format!("{}, {device}", case.name);
                    assert_eq!(found.ids, expected.ids, "{what}");
                    assert_eq!(found.text, expected.text, "{what}");
                    assert_eq!(found.finish_reason, expected.finish_reason, "{what}");
                    assert_eq!(found.second_ids, expected.second_ids, "{what}");
                    assert_close(&found.state, &outcomes[1].state, &what);
                }
            }
        }
    });
}
