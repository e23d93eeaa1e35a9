//! A request as the package sends it: JSON with OpenAI's field names.

use serde_json::{Map, Value};

use super::{GenerateRequest, Prompt};
use crate::error::{Error, Result, cut};
use crate::text::sampler::SamplerOptions;

/// What of a value is quoted.
const MAX_QUOTED_CHARS: usize = 60;
/// The most tokens that can be asked for.
const MAX_TOKENS: u64 = i32::MAX as u64;

impl GenerateRequest {
    /// Reads a request for a chat and checks it; `invalid-request` names the field, what was found and what is
    /// right. `seed` is for a request without one. `null` is as good as nothing.
    pub fn from_json(json: &str, seed: u64) -> Result<Self> {
        let fields =
            serde_json::from_str(json).map_err(|error| Error::invalid_request("request", error))?;
        let mut fields = Fields(fields);
        let defaults = SamplerOptions::default();
        let messages = fields.take("messages");
        let max_tokens = fields.whole("max_completion_tokens", 1, MAX_TOKENS)?;
        let request = Self {
            prompt: Prompt::Chat {
                messages: messages
                    .ok_or_else(|| wrong("messages", &Value::Null, "a list of messages"))?,
                tools: fields.take("tools"),
                thinking: fields.flag("thinking")?,
                variables: Map::new(),
            },
            max_tokens: max_tokens.map(|count| count as usize),
            sampling: SamplerOptions {
                temperature: fields.number("temperature")?.unwrap_or(defaults.temperature),
                top_k: fields
                    .whole("top_k", 0, MAX_TOKENS)?
                    .map_or(defaults.top_k, |count| count as u32),
                top_p: fields.number("top_p")?.unwrap_or(defaults.top_p),
                min_p: fields.number("min_p")?.unwrap_or(defaults.min_p),
                repetition_penalty: fields
                    .number("repetition_penalty")?
                    .unwrap_or(defaults.repetition_penalty),
                frequency_penalty: fields
                    .number("frequency_penalty")?
                    .unwrap_or(defaults.frequency_penalty),
                presence_penalty: fields
                    .number("presence_penalty")?
                    .unwrap_or(defaults.presence_penalty),
                logit_bias: fields.biases("logit_bias")?,
                seed: fields.seed("seed")?.unwrap_or(seed),
            },
            stop: fields.texts("stop")?,
            ignore_stop_tokens: false,
        };
        if let Some(field) = fields.0.keys().next() {
            return Err(Error::invalid_request(field, "found an unknown field"));
        }
        request.check()?;
        Ok(request)
    }
}

/// What of a request has not been read.
struct Fields(Map<String, Value>);

impl Fields {
    fn take(&mut self, field: &str) -> Option<Value> {
        self.0.remove(field).filter(|value| !value.is_null())
    }

    fn flag(&mut self, field: &str) -> Result<Option<bool>> {
        let read =
            |value: Value| value.as_bool().ok_or_else(|| wrong(field, &value, "true or false"));
        self.take(field).map(read).transpose()
    }

    fn number(&mut self, field: &str) -> Result<Option<f32>> {
        self.take(field).map(|value| number(field, &value)).transpose()
    }

    fn whole(&mut self, field: &str, least: u64, most: u64) -> Result<Option<u64>> {
        let read = |value: Value| {
            let found = value.as_u64().filter(|count| (least..=most).contains(count));
            found.ok_or_else(|| wrong(field, &value, &format!("an integer from {least} to {most}")))
        };
        self.take(field).map(read).transpose()
    }

    /// A negative number is as good a seed as any.
    fn seed(&mut self, field: &str) -> Result<Option<u64>> {
        let read = |value: Value| {
            let found = value.as_u64().or_else(|| value.as_i64().map(i64::cast_unsigned));
            found.ok_or_else(|| wrong(field, &value, "an integer of 64 bits"))
        };
        self.take(field).map(read).transpose()
    }

    /// One text or several.
    fn texts(&mut self, field: &str) -> Result<Vec<String>> {
        match self.take(field) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => {
                let text = |(index, value): (usize, Value)| match value {
                    Value::String(text) => Ok(text),
                    value => Err(wrong(&format!("{field}[{index}]"), &value, "a string")),
                };
                list.into_iter().enumerate().map(text).collect()
            }
            Some(Value::String(text)) => Ok(vec![text]),
            Some(value) => Err(wrong(field, &value, "a string or a list of strings")),
        }
    }

    /// Numbers by token id.
    fn biases(&mut self, field: &str) -> Result<Vec<(u32, f32)>> {
        let biases = match self.take(field) {
            None => Map::new(),
            Some(Value::Object(biases)) => biases,
            Some(value) => return Err(wrong(field, &value, "an object from token id to number")),
        };
        let read = |(token, bias): (&String, &Value)| {
            let id = Some(token).filter(|token| token.bytes().all(|byte| byte.is_ascii_digit()));
            let id = id.and_then(|token| token.parse::<u32>().ok());
            let id =
                id.ok_or_else(|| wrong(field, &Value::from(token.as_str()), "a token id as key"))?;
            Ok((id, number(&format!("{field}.{id}"), bias)?))
        };
        biases.iter().map(read).collect()
    }
}

/// A number, which may be out of range.
fn number(field: &str, value: &Value) -> Result<f32> {
    let number = value.as_f64().ok_or_else(|| wrong(field, value, "a number"))?;
    Ok(number as f32)
}

fn wrong(field: &str, found: &Value, expected: &str) -> Error {
    let found = cut(found.to_string(), MAX_QUOTED_CHARS);
    Error::invalid_request(field, format!("found {found}, expected {expected}"))
}
