//! Answer style of a checkpoint: forms of reasoning and tool calls, as its chat template shows.

use super::harmony_marks;
use super::tool_call_format::ToolCallFormat;

/// The switch by which a chat turns a model's reasoning on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThinkingSwitch {
    /// The template variable `enable_thinking`.
    Variable,
    /// A line of the system message: one for on, one for off.
    System(&'static str, &'static str),
}

/// Form in which an answer encloses reasoning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReasoningFormat {
    /// `<think>…</think>` at the start of the answer.
    #[default]
    Think,
    /// `[THINK]…[/THINK]` at the start of the answer: Ministral 3, Magistral.
    BracketThink,
    /// `<|channel>thought…<channel|>`, also between parts of the answer: Gemma 4.
    Channel,
    /// Messages in channels: gpt-oss.
    Harmony,
}

/// Mark of a channel of Gemma 4 without its name, and the mark that ends a channel.
pub(super) const CHANNEL: &str = "<|channel>";
pub(super) const CHANNEL_END: &str = "<channel|>";

impl ReasoningFormat {
    /// Mark that opens reasoning.
    pub(super) fn open(self) -> &'static str {
        match self {
            ReasoningFormat::Think => "<think>",
            ReasoningFormat::BracketThink => "[THINK]",
            ReasoningFormat::Channel => "<|channel>thought",
            ReasoningFormat::Harmony => "<|channel|>analysis<|message|>",
        }
    }

    /// Mark that closes reasoning.
    pub(super) fn close(self) -> &'static str {
        match self {
            ReasoningFormat::Think => "</think>",
            ReasoningFormat::BracketThink => "[/THINK]",
            ReasoningFormat::Channel => CHANNEL_END,
            ReasoningFormat::Harmony => "<|end|>",
        }
    }

    /// Marks that may be control tokens of the vocabulary.
    fn marks(self) -> &'static [&'static str] {
        match self {
            ReasoningFormat::Think => &["<think>", "</think>"],
            ReasoningFormat::BracketThink => &["[THINK]", "[/THINK]"],
            ReasoningFormat::Channel => &[CHANNEL, CHANNEL_END],
            ReasoningFormat::Harmony => harmony_marks::MARKS,
        }
    }
}

/// The conventions of a checkpoint's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AnswerStyle {
    /// True if answers may contain reasoning.
    pub reasons: bool,
    /// Form of the reasoning.
    pub reasoning: ReasoningFormat,
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
        let reasoning = if has("<|channel|>") {
            ReasoningFormat::Harmony
        } else if has(CHANNEL_END) {
            ReasoningFormat::Channel
        } else if has("[THINK]") {
            ReasoningFormat::BracketThink
        } else {
            ReasoningFormat::Think
        };
        let is_think = reasoning == ReasoningFormat::Think;
        Self {
            reasons: !is_think || has_think_token || has("</think>") || switch.is_some(),
            reasoning,
            switch,
            calls: calls(template),
        }
    }

    /// Marks that delimit the parts of an answer, which may be control tokens of the vocabulary.
    pub fn marks(self, with_tools: bool) -> Vec<&'static str> {
        let mut marks = if self.reasons { self.reasoning.marks().to_vec() } else { Vec::new() };
        if let Some(calls) = self.calls.filter(|_| with_tools) {
            marks.extend(calls.opening_marks().iter().chain(calls.closing_mark().as_ref()));
            marks.extend(calls.inner_marks());
        }
        marks
    }
}

/// Format of tool calls in a template.
fn calls(template: &str) -> Option<ToolCallFormat> {
    let has = |text: &str| template.contains(text);
    Some(if has("<|channel|>") {
        ToolCallFormat::Harmony
    } else if has("[TOOL_CALLS]") {
        ToolCallFormat::Mistral
    } else if has("<|tool_list_start|>")
        || has("<|tool_call_start|>")
        || has("<additional_tools>")
        || has("List of tools: [")
    {
        ToolCallFormat::Python
    } else if has("<|tool_call>call:") {
        ToolCallFormat::Gemma4
    } else if has("<function name=\"") && has("<param name=\"") {
        ToolCallFormat::NamedElements
    } else if has("<TOOLCALL>") {
        ToolCallFormat::TaggedList
    } else if has("<|tool_call|>") {
        ToolCallFormat::MarkedList
    } else if has("<function=") {
        ToolCallFormat::Elements
    } else if has("<tool_call>") {
        ToolCallFormat::TaggedJson
    } else if has("<|start_header_id|>") && has("\"parameters\": ") {
        ToolCallFormat::BareJson
    } else {
        return None;
    })
}
