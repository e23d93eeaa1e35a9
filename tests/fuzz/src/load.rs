//! A model's whole way, whatever its files hold: what is said of it from headers, plans, the load on the CPU,
//! two tokens.

use std::rc::Rc;

use crate::{check, ready};
use serde_json::{Map, json};
use tablm::Result;
use tablm::engine::{DeviceChoice, Engine, GenerateRequest, LoadOptions, Prompt, estimate};
use tablm::text::sampler::SamplerOptions;
use tablm::weights::source::ByteSource;

/// Bytes that a model may ask of the CPU before it is refused.
const CPU_BYTES: u64 = 32 << 20;

fn request(prompt: Prompt) -> GenerateRequest {
    let sampling = SamplerOptions { temperature: 0.0, ..SamplerOptions::default() };
    GenerateRequest {
        prompt,
        max_tokens: Some(2),
        sampling,
        stop: vec!["x".into()],
        ignore_stop_tokens: true,
    }
}

/// Goes it as far as the files allow; errors blame them.
pub fn go(files: Vec<Rc<dyn ByteSource>>) -> Result<()> {
    let options = LoadOptions {
        device: DeviceChoice::Cpu,
        context_length: Some(64),
        chunk: Some(4),
        cpu_bytes: Some(CPU_BYTES),
        ..LoadOptions::default()
    };
    let estimated = ready(estimate(files.clone(), &options, None)).inspect_err(check);
    let mut engine = ready(Engine::load(files, &options, &mut |_| {})).inspect_err(check)?;
    let estimated = estimated.expect("a model that loads can be estimated");
    let info = engine.info();
    assert_eq!((estimated.parameters, &*estimated.architecture), (info.parameters, &*info.architecture));
    let messages = json!([{"role": "user", "content": "Hi é"}]);
    let chat = Prompt::Chat { messages, tools: None, thinking: None, variables: Map::new() };
    let mut result = Ok(());
    for prompt in [Prompt::Raw("Hi é".into()), chat, Prompt::Tokens(vec![0, info.vocabulary_size - 1])] {
        match ready(engine.generate(&request(prompt), |_| {})) {
            Ok(done) => assert!(done.token_ids.len() <= 2, "{:?}", done.token_ids),
            Err(error) => {
                // Weights may be such that nothing can be computed with them.
                if !error.message().contains("expected a number") {
                    check(&error);
                }
                result = Err(error);
            }
        }
    }
    result
}
