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

/// The parts of an answer that have become certain since the previous call.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "AnswerDelta"))]
pub struct Delta {
    /// Text of the answer.
    pub text: String,
    /// Text of the reasoning.
    pub reasoning: String,
    /// Complete tool calls.
    pub tool_calls: Vec<ToolCall>,
}

impl Delta {
    /// Appends a later delta.
    pub fn extend(&mut self, later: Delta) {
        self.text.push_str(&later.text);
        self.reasoning.push_str(&later.reasoning);
        self.tool_calls.extend(later.tool_calls);
    }
}
