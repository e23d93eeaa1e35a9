//! Parts of an answer, as they are returned while the answer is generated.

use serde::Serialize;

/// A complete tool call in OpenAI's format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct ToolCall {
    /// Nine letters and digits, as the strictest templates require. Equal calls at the same
    /// position of equal conversations have equal ids.
    pub id: String,
    /// Always `function`.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "typescript", ts(type = "\"function\""))]
    pub kind: &'static str,
    /// The function and its arguments.
    pub function: FunctionCall,
}

/// A function name and its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct FunctionCall {
    /// Function name.
    pub name: String,
    /// A JSON object, as text.
    pub arguments: String,
}

/// Log-probability of a token of the vocabulary, as OpenAI reports it, and the token's id.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct TokenLogprob {
    /// Text of the token; U+FFFD for bytes that are not UTF-8.
    pub token: String,
    /// Natural logarithm of the token's probability before penalties, `logit_bias` and the
    /// temperature; at least -9999.
    pub logprob: f64,
    /// UTF-8 bytes of the token, which may be part of a character.
    pub bytes: Vec<u8>,
    /// Id of the token.
    pub id: u32,
}

/// Log-probabilities of a generated token and of the most probable ones in its place.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct GeneratedLogprob {
    /// The generated token.
    #[serde(flatten)]
    pub generated: TokenLogprob,
    /// The most probable tokens, in descending order; as many as `top_logprobs` asks for.
    pub top_logprobs: Vec<TokenLogprob>,
}

/// The parts of an answer that have become certain since the previous call.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "AnswerDelta"))]
pub struct Delta {
    /// Text of the answer.
    pub text: String,
    /// Text of the reasoning.
    pub reasoning: String,
    /// Complete tool calls.
    pub tool_calls: Vec<ToolCall>,
    /// Log-probabilities of the tokens, if the request asks for them.
    pub logprobs: Vec<GeneratedLogprob>,
}

impl Delta {
    /// Appends a later delta.
    pub fn extend(&mut self, later: Delta) {
        self.text.push_str(&later.text);
        self.reasoning.push_str(&later.reasoning);
        self.tool_calls.extend(later.tool_calls);
        self.logprobs.extend(later.logprobs);
    }
}
