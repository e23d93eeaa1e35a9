//! A request as the package's TypeScript sends it: OpenAI's field names.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::engine::{GenerateRequest, Prompt};
use crate::error::{Error, Result};
use crate::text::sampler::SamplerOptions;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChatRequest {
    messages: Value,
    tools: Option<Value>,
    thinking: Option<bool>,
    max_completion_tokens: Option<usize>,
    #[serde(default)]
    stop: Vec<String>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    top_k: Option<u32>,
    min_p: Option<f32>,
    repetition_penalty: Option<f32>,
    frequency_penalty: Option<f32>,
    presence_penalty: Option<f32>,
    #[serde(default)]
    logit_bias: BTreeMap<String, f32>,
    seed: Option<u64>,
}

/// Reads a request; `invalid-request` names what is wrong.
pub(super) fn parse(json: &str) -> Result<GenerateRequest> {
    let request: ChatRequest =
        serde_json::from_str(json).map_err(|error| Error::invalid_request("request", error))?;
    let bias = |(token, bias): (String, f32)| {
        let id = token.parse::<u32>();
        let id = id.map_err(|_| {
            Error::invalid_request("logit_bias", format!("found key {token:?}, expected a token id"))
        })?;
        Ok((id, bias))
    };
    let defaults = SamplerOptions::default();
    let sampling = SamplerOptions {
        temperature: request.temperature.unwrap_or(defaults.temperature),
        top_k: request.top_k.unwrap_or(defaults.top_k),
        top_p: request.top_p.unwrap_or(defaults.top_p),
        min_p: request.min_p.unwrap_or(defaults.min_p),
        repetition_penalty: request.repetition_penalty.unwrap_or(defaults.repetition_penalty),
        frequency_penalty: request.frequency_penalty.unwrap_or(defaults.frequency_penalty),
        presence_penalty: request.presence_penalty.unwrap_or(defaults.presence_penalty),
        logit_bias: request.logit_bias.into_iter().map(bias).collect::<Result<_>>()?,
        seed: request.seed.unwrap_or_else(|| (js_sys::Math::random() * 9e15) as u64),
    };
    Ok(GenerateRequest {
        prompt: Prompt::Chat {
            messages: request.messages,
            tools: request.tools,
            thinking: request.thinking,
            variables: Map::new(),
        },
        max_tokens: request.max_completion_tokens,
        sampling,
        stop: request.stop,
        ignore_stop_tokens: false,
    })
}
