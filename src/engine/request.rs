//! Requests as JSON with OpenAI's field names, as the package and HTTP clients send them.

use serde_json::{Map, Value};

use super::completion::{GenerateRequest, Prompt};
use super::embeddings::{EmbeddingInput, EmbeddingRequest};
use super::logprobs::MAX_TOP_LOGPROBS;
use crate::error::{Error, Result, excerpt};
use crate::sampling::SamplerOptions;
use crate::sampling::{
    FREQUENCY_PENALTY, LOGIT_BIAS_RANGE, MAX_BIASED_TOKENS, MIN_P, NUMBER_FIELDS, NumberField,
    PRESENCE_PENALTY, REPETITION_PENALTY, TEMPERATURE, TOP_K, TOP_P,
};
use crate::text::answer::{MAX_STOP_STRING_CHARS, MAX_STOP_STRINGS};

/// Most tokens that a request can ask for.
const MAX_TOKENS: u64 = i32::MAX as u64;
/// Most messages of a conversation.
pub const MAX_MESSAGES: usize = 4096;

/// Most texts of a request for embeddings.
const MAX_TEXTS: usize = 2048;

/// Field of a request that callers pass to the engine unchanged.
#[derive(Debug, Clone)]
pub struct RequestField {
    /// Name in the JSON object.
    pub name: &'static str,
    /// Type in TypeScript, without `null`.
    pub typescript: &'static str,
    /// Effect, range and default.
    pub documentation: String,
}

/// The fields of a request that callers pass to the engine unchanged, in the order of the
/// documentation: all but `messages`, `tools` and `thinking`.
pub fn request_fields() -> Vec<RequestField> {
    let field = |name, typescript, documentation| RequestField { name, typescript, documentation };
    let [least_bias, most_bias] = LOGIT_BIAS_RANGE;
    let mut fields = vec![field(
        "max_completion_tokens",
        "number",
        format!(
            "Most tokens to generate. An integer from 1 to {MAX_TOKENS}, default what the context \
             has room for."
        ),
    )];
    let number = |number: &NumberField| field(number.name, "number", number.to_string());
    fields.extend(NUMBER_FIELDS.iter().map(number));
    fields.push(field(
        "logit_bias",
        "Readonly<Record<string, number>>",
        format!(
            "Numbers to add to logits, by token id. {least_bias} to {most_bias}, where \
             {least_bias} excludes the token; at most {MAX_BIASED_TOKENS} tokens."
        ),
    ));
    fields.push(field(
        "logprobs",
        "boolean",
        "True to report the log-probability of each generated token. Decoding on the GPU is slower \
         then. Default `false`."
            .to_owned(),
    ));
    fields.push(field(
        "seed",
        "number",
        "Seed of the draws: the same request with the same seed gives the same answer. An integer, \
         default a random one."
            .to_owned(),
    ));
    fields.push(field(
        "stop",
        "string | readonly string[]",
        format!(
            "Strings that end the answer and are not part of it. At most {MAX_STOP_STRINGS} \
             strings of 1 to {MAX_STOP_STRING_CHARS} characters."
        ),
    ));
    fields.push(field(
        "top_logprobs",
        "number",
        format!(
            "Most probable tokens to report in place of each generated one. An integer from 0 to \
             {MAX_TOP_LOGPROBS}, only with `logprobs`. Default 0."
        ),
    ));
    fields.push(field(
        "truncation",
        "\"auto\" | \"disabled\"",
        "What happens to messages that do not fit the context with room for an answer: `disabled` \
         rejects those that do not fit at all with `context-full`; `auto` leaves out the oldest \
         turns, but neither the system messages at the beginning, nor tools, nor the last turn. \
         Default `disabled`."
            .to_owned(),
    ));
    fields
}

impl GenerateRequest {
    /// Reads a chat request and checks it; a field that is `null` counts as absent. `seed` is used
    /// where the request has none.
    ///
    /// # Errors
    /// `invalid-request` names the field, the value found and the values expected.
    pub fn from_json(json: &str, seed: u64) -> Result<Self> {
        let mut fields = Fields::read(json)?;
        let max_tokens = fields.integer("max_completion_tokens", 1, MAX_TOKENS)?;
        let request = Self {
            prompt: Prompt::Chat {
                messages: fields.messages("messages")?,
                tools: fields.take("tools"),
                thinking: fields.flag("thinking")?,
                variables: Map::new(),
            },
            max_tokens: max_tokens.map(|count| count as usize),
            sampling: SamplerOptions {
                temperature: fields.number(TEMPERATURE)?,
                top_k: fields.integer_or_default(TOP_K)?,
                top_p: fields.number(TOP_P)?,
                min_p: fields.number(MIN_P)?,
                repetition_penalty: fields.number(REPETITION_PENALTY)?,
                frequency_penalty: fields.number(FREQUENCY_PENALTY)?,
                presence_penalty: fields.number(PRESENCE_PENALTY)?,
                logit_bias: fields.biases("logit_bias")?,
                seed: fields.seed("seed")?.unwrap_or(seed),
            },
            stop: fields.strings("stop")?,
            ignore_stop_tokens: false,
            top_logprobs: fields.top_logprobs()?,
            truncates: fields.truncation("truncation")?,
        };
        fields.check_all_read()?;
        request.check()?;
        Ok(request)
    }
}

impl EmbeddingRequest {
    /// Reads a request for embeddings; a field that is `null` counts as absent. `encoding_format`
    /// is only checked.
    ///
    /// # Errors
    /// `invalid-request` names the field, the value found and the values expected.
    pub fn from_json(json: &str) -> Result<Self> {
        let mut fields = Fields::read(json)?;
        let dimensions = fields.integer("dimensions", 1, MAX_TOKENS)?;
        let request = Self {
            inputs: fields.texts("input")?,
            dimensions: dimensions.map(|count| count as usize),
            prompt_name: fields.string("prompt_name")?,
        };
        let format = fields.string("encoding_format")?;
        if let Some(found) = format.filter(|name| !["float", "base64"].contains(&name.as_str())) {
            return Err(wrong("encoding_format", &found.into(), "float or base64"));
        }
        fields.check_all_read()?;
        Ok(request)
    }
}

/// Fields of a request that have not been read yet.
struct Fields(Map<String, Value>);

impl Fields {
    fn read(json: &str) -> Result<Self> {
        let fields = serde_json::from_str(json);
        fields.map(Self).map_err(|error| Error::invalid_request("request", error))
    }

    fn check_all_read(&self) -> Result<()> {
        match self.0.keys().next() {
            Some(field) => Err(Error::invalid_request(field, "found an unknown field")),
            None => Ok(()),
        }
    }

    fn take(&mut self, field: &str) -> Option<Value> {
        self.0.remove(field).filter(|value| !value.is_null())
    }

    /// The conversation, whose messages the chat template's reader checks.
    fn messages(&mut self, field: &str) -> Result<Value> {
        let messages = self.take(field).unwrap_or(Value::Null);
        match messages.as_array().map(Vec::len) {
            Some(0..=MAX_MESSAGES) => Ok(messages),
            Some(count) => {
                let found = format!("{count} messages");
                Err(Error::invalid_value(field, found, format!("at most {MAX_MESSAGES}")))
            }
            None => Err(wrong(field, &messages, "a list of messages")),
        }
    }

    fn flag(&mut self, field: &str) -> Result<Option<bool>> {
        let read =
            |value: Value| value.as_bool().ok_or_else(|| wrong(field, &value, "true or false"));
        self.take(field).map(read).transpose()
    }

    /// A number or its default; [`SamplerOptions::check`] compares it with the range.
    fn number(&mut self, field: NumberField) -> Result<f32> {
        let value = self.take(field.name).map(|value| number(field.name, &value)).transpose()?;
        Ok(value.unwrap_or(field.default as f32))
    }

    /// Number of most probable tokens to report; `None` unless `logprobs` is true.
    fn top_logprobs(&mut self) -> Result<Option<usize>> {
        let is_wanted = self.flag("logprobs")?.unwrap_or(false);
        let top = self.integer("top_logprobs", 0, MAX_TOP_LOGPROBS)?;
        match top {
            Some(top) if top > 0 && !is_wanted => {
                Err(Error::invalid_value("top_logprobs", top, "logprobs to be true"))
            }
            _ => Ok(is_wanted.then(|| top.unwrap_or(0) as usize)),
        }
    }

    /// True for the truncation `auto`.
    fn truncation(&mut self, field: &str) -> Result<bool> {
        match self.string(field)?.as_deref() {
            Some("auto") => Ok(true),
            None | Some("disabled") => Ok(false),
            Some(other) => Err(wrong(field, &other.into(), "auto or disabled")),
        }
    }

    fn integer_or_default(&mut self, field: NumberField) -> Result<u32> {
        let value = self.integer(field.name, field.min as u64, field.max as u64)?;
        Ok(value.unwrap_or(field.default as u64) as u32)
    }

    fn integer(&mut self, field: &str, min: u64, max: u64) -> Result<Option<u64>> {
        let read = |value: Value| {
            let found = value.as_u64().filter(|count| (min..=max).contains(count));
            found.ok_or_else(|| wrong(field, &value, &format!("an integer from {min} to {max}")))
        };
        self.take(field).map(read).transpose()
    }

    /// A seed; a negative number is reinterpreted as an unsigned one.
    fn seed(&mut self, field: &str) -> Result<Option<u64>> {
        let read = |value: Value| {
            let found = value.as_u64().or_else(|| value.as_i64().map(i64::cast_unsigned));
            found.ok_or_else(|| wrong(field, &value, "an integer of 64 bits"))
        };
        self.take(field).map(read).transpose()
    }

    fn string(&mut self, field: &str) -> Result<Option<String>> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::String(string)) => Ok(Some(string)),
            Some(value) => Err(wrong(field, &value, "a string")),
        }
    }

    /// Texts: a string, the token ids of one text, or a list of either.
    fn texts(&mut self, field: &str) -> Result<Vec<EmbeddingInput>> {
        const EXPECTED: &str = "a string, token ids, or a list of 1 to 2048 of either";
        match self.take(field).unwrap_or_default() {
            Value::String(text) => Ok(vec![EmbeddingInput::Text(text)]),
            Value::Array(ids) if ids.first().is_some_and(Value::is_number) => {
                Ok(vec![token_ids(field, &ids)?])
            }
            Value::Array(list) if (1..=MAX_TEXTS).contains(&list.len()) => {
                let text = |(index, value): (usize, Value)| match value {
                    Value::String(text) => Ok(EmbeddingInput::Text(text)),
                    Value::Array(ids) => token_ids(&format!("{field}[{index}]"), &ids),
                    value => Err(wrong(&format!("{field}[{index}]"), &value, EXPECTED)),
                };
                list.into_iter().enumerate().map(text).collect()
            }
            Value::Array(list) => {
                Err(Error::invalid_value(field, format!("{} texts", list.len()), EXPECTED))
            }
            value => Err(wrong(field, &value, EXPECTED)),
        }
    }

    /// A string or a list of strings.
    fn strings(&mut self, field: &str) -> Result<Vec<String>> {
        match self.take(field) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => {
                let string = |(index, value): (usize, Value)| match value {
                    Value::String(string) => Ok(string),
                    value => Err(wrong(&format!("{field}[{index}]"), &value, "a string")),
                };
                list.into_iter().enumerate().map(string).collect()
            }
            Some(Value::String(string)) => Ok(vec![string]),
            Some(value) => Err(wrong(field, &value, "a string or a list of strings")),
        }
    }

    /// Numbers to add to logits, by token id.
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

fn token_ids(field: &str, ids: &[Value]) -> Result<EmbeddingInput> {
    let id = |value: &Value| {
        let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
        id.ok_or_else(|| wrong(field, value, "token ids"))
    };
    ids.iter().map(id).collect::<Result<_>>().map(EmbeddingInput::Tokens)
}

/// A number; values that `f32` cannot hold become infinite and fail the range check.
fn number(field: &str, value: &Value) -> Result<f32> {
    let number = value.as_f64().ok_or_else(|| wrong(field, value, "a number"))?;
    Ok(number as f32)
}

fn wrong(field: &str, found: &Value, expected: &str) -> Error {
    Error::invalid_value(field, excerpt(found), expected)
}
