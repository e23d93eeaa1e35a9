//! Answer style of a checkpoint: forms of reasoning and tool calls, as its chat template shows.

use super::tool_call_format::ToolCallFormat;

pub(super) const THINK: &str = "<think>";
pub(super) const THINK_END: &str = "</think>";

/// The switch by which a chat turns a model's reasoning on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThinkingSwitch {
    /// The template variable `enable_thinking`.
    Variable,
    /// A line of the system message: one for on, one for off.
    System(&'static str, &'static str),
}

/// The conventions of a checkpoint's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AnswerStyle {
    /// True if reasoning is enclosed in `<think>` and `</think>`.
    pub reasons: bool,
    /// Switch that turns reasoning on and off.
    pub switch: Option<ThinkingSwitch>,
    /// Format of tool calls.
    pub calls: Option<ToolCallFormat>,
}

impl AnswerStyle {
    /// Detects the style from the chat template, which renders earlier answers for the model; no
    /// other field of a checkpoint states it. `name` is the checkpoint's name, `has_think_token`
    /// tells whether its vocabulary contains `<think>`.
    pub fn of(template: &str, name: &str, has_think_token: bool) -> Self {
        let has = |text: &str| template.contains(text);
        let name = name.to_lowercase().replace([' ', '_'], "-");
        let switch = if has("enable_thinking") {
            Some(ThinkingSwitch::Variable)
        } else if has("/no_think") {
            Some(ThinkingSwitch::System("/think", "/no_think"))
        } else if has("<|start_header_id|>")
            && (has("<TOOLCALL>") || name.contains("nemotron-nano"))
        {
            // The templates of the Llama Nemotrons do not contain the lines used in training.
            Some(ThinkingSwitch::System("detailed thinking on", "detailed thinking off"))
        } else {
            None
        };
        let calls = if has("<TOOLCALL>") {
            Some(ToolCallFormat::TaggedList)
        } else if has("<function=") {
            Some(ToolCallFormat::Elements)
        } else if has("<tool_call>") {
            Some(ToolCallFormat::TaggedJson)
        } else if has("<|start_header_id|>") && has("\"parameters\": ") {
            Some(ToolCallFormat::BareJson)
        } else {
            None
        };
        Self { reasons: has_think_token || has(THINK_END) || switch.is_some(), switch, calls }
    }

    /// Marks that delimit the parts of an answer, which may be control tokens of the vocabulary.
    pub fn marks(self, with_tools: bool) -> Vec<&'static str> {
        let mut marks = if self.reasons { vec![THINK, THINK_END] } else { Vec::new() };
        if let Some(calls) = self.calls.filter(|_| with_tools) {
            marks.extend(calls.opening_marks().iter().chain(calls.closing_mark().as_ref()));
        }
        marks
    }
}
