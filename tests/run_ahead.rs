//! Run-ahead decoding: the same answers as on the host, however they end, and the same after them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::rc::Rc;

use common::engines::{assert_same, devices, greedy, state, tokens};
use common::gguf::{Gguf, tiny_llama};
use common::nemotron_h::tiny_nemotron_h;
use tablm::cpu::CpuVariant;
use tablm::engine::{
    Completion, DeviceChoice, Engine, Event, GenerateRequest, LoadOptions, Prompt, TestSwitches,
};
use tablm::formats::Format;
use tablm::sampling::SamplerOptions;
use tablm::weights::source::MemorySource;

/// An answer, and the state and a second answer after it.
struct Told {
    ids: Vec<u32>,
    text: String,
    finish_reason: &'static str,
    later: Vec<u32>,
    state: Vec<Vec<f32>>,
}

/// A request, how it ends, and the number of tokens after which it is aborted.
struct Case {
    name: &'static str,
    finish_reason: &'static str,
    request: GenerateRequest,
    abort_after: Option<usize>,
}

/// Generates an answer and a second one to a longer prompt.
async fn tell(engine: &mut Engine, request: &GenerateRequest, abort_after: Option<usize>) -> Told {
    engine.reset();
    engine.begin(request).unwrap();
    let mut count = 0;
    let completion = loop {
        match engine.next().await.unwrap() {
            Event::Prefill { .. } => {}
            Event::Token(_) => count += 1,
            Event::Done(completion) => break completion,
        }
        if abort_after == Some(count) {
            engine.stop();
        }
    };
    let Completion { token_ids, text, finish_reason, prompt_token_ids, .. } = *completion;
    let mut longer = [prompt_token_ids, token_ids.clone(), tokens(5)].concat();
    longer.truncate(85);
    let later = GenerateRequest { ignore_stop_tokens: true, ..greedy(Prompt::Tokens(longer), 12) };
    let later = engine.generate(&later, |_| {}).await.unwrap().token_ids;
    Told { ids: token_ids, text, finish_reason, later, state: state(engine).await }
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
    let file = MemorySource::new("tiny.gguf", file.clone().bytes());
    Engine::load(vec![Rc::new(file)], &options, &mut |_| {}).await.unwrap()
}

/// Requests that end in every way, given the answer of one that ends by its length, and a stop
/// token and a stop string that occur in it.
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
fn running_ahead_changes_nothing() {
    pollster::block_on(async {
        if devices().await.len() == 1 {
            return;
        }
        for file in [tiny_llama(64, Format::F32), tiny_nemotron_h("M-*M")] {
            let prompt = Prompt::Tokens(tokens(40));
            let length = GenerateRequest { ignore_stop_tokens: true, ..greedy(prompt, 20) };
            let mut host = load(&file, DeviceChoice::Cpu, 0).await;
            let answer = host.generate(&length, |_| {}).await.unwrap();
            // A token that occurs for the first time, with more after it.
            let is_new = |id: &u32| !answer.token_ids[..5].contains(id);
            let end = answer.token_ids[5..15].iter().copied().find(is_new).unwrap();
            let half = answer.text.chars().count() / 2;
            let stop = answer.text.chars().skip(half).take(2).collect();
            let file = file.u32("tokenizer.ggml.eot_token_id", end);
            let mut engines = [
                ("CPU", load(&file, DeviceChoice::Cpu, 0).await),
                ("0 steps ahead", load(&file, DeviceChoice::WebGpu, 0).await),
                ("2 steps ahead", load(&file, DeviceChoice::WebGpu, 2).await),
                ("hybrid", load(&file, DeviceChoice::Hybrid, 0).await),
            ];
            for Case { name, finish_reason, request, abort_after } in
                cases(&length, &answer, end, stop)
            {
                let mut told = Vec::new();
                for (_, engine) in &mut engines {
                    told.push(tell(engine, &request, abort_after).await);
                }
                let expected = &told[0];
                assert_eq!(expected.finish_reason, finish_reason, "{name}");
                assert!(expected.ids.len() > 4, "{name}");
                for (found, (how, _)) in told.iter().zip(&engines).skip(1) {
                    let what = format!("{name}, {how}");
                    assert_eq!(found.ids, expected.ids, "{what}");
                    assert_eq!(found.text, expected.text, "{what}");
                    assert_eq!(found.finish_reason, expected.finish_reason, "{what}");
                    assert_eq!(found.later, expected.later, "{what}");
                    assert_same(&found.state, &told[1].state, &what);
                }
            }
        }
    });
}
