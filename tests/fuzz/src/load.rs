//! All steps from files to tokens: estimate from headers, planning, loading on the CPU, generation
//! of two tokens.

use std::rc::Rc;

use crate::{check, ready};
use serde_json::{Map, json};
use tablm::Result;
use tablm::engine::{
    DeviceChoice, Engine, GenerateRequest, HostServices, LoadOptions, Prompt, estimate,
};
use tablm::sampling::SamplerOptions;
use tablm::weights::source::ByteSource;

/// Memory limit of the CPU executor, in bytes.
const CPU_BYTES: u64 = 32 << 20;

/// A greedy request for two tokens.
pub fn request(prompt: Prompt) -> GenerateRequest {
    let sampling = SamplerOptions { temperature: 0.0, ..SamplerOptions::default() };
    GenerateRequest {
        prompt,
        max_tokens: Some(2),
        sampling,
        stop: vec!["x".into()],
        ignore_stop_tokens: true,
        top_logprobs: None,
        truncates: false,
    }
}

/// Options of a load on the CPU with limited memory.
pub fn options() -> LoadOptions {
    LoadOptions {
        device: DeviceChoice::Cpu,
        context_length: Some(64),
        chunk: Some(4),
        host: HostServices { max_cpu_bytes: Some(CPU_BYTES), ..HostServices::default() },
        ..LoadOptions::default()
    }
}

/// Runs all steps that the files allow; no error may be `internal`.
pub fn load_and_generate(files: Vec<Rc<dyn ByteSource>>) -> Result<()> {
    let options = options();
    let estimated = ready(estimate(files.clone(), &options, None)).inspect_err(check);
    let mut engine = ready(Engine::load(files, &options, &mut |_| {})).inspect_err(check)?;
    let estimated = estimated.expect("a model that loads can be estimated");
    let info = engine.info();
    assert_eq!(
        (estimated.parameters, &*estimated.architecture),
        (info.parameters, &*info.architecture)
    );
    let messages = json!([{"role": "user", "content": "Hi é"}]);
    let chat = Prompt::Chat { messages, tools: None, thinking: None, variables: Map::new() };
    let mut result = Ok(());
    for prompt in
        [Prompt::Raw("Hi é".into()), chat, Prompt::Tokens(vec![0, info.vocabulary_size - 1])]
    {
        match ready(engine.generate(&request(prompt), |_| {})) {
            Ok(done) => assert!(done.token_ids.len() <= 2, "{:?}", done.token_ids),
            Err(error) => {
                // Finite weights may yield logits that are not finite.
                if !error.message().contains("expected a number") {
                    check(&error);
                }
                result = Err(error);
            }
        }
    }
    result
}
