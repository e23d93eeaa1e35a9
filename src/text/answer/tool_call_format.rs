//! Formats in which models write tool calls, and the marks that delimit them.

pub(super) const FUNCTION: &str = "<function=";
pub(super) const NAMED_FUNCTION: &str = "<function name=\"";
pub(super) const TOOL_CALL: &str = "<tool_call>";
pub(super) const TOOL_CALL_END: &str = "</tool_call>";
pub(super) const ARGUMENTS: &str = "[ARGS]";
pub(super) const CALL_ID: &str = "[CALL_ID]";
/// Mark on both sides of a string in [`ToolCallFormat::Gemma4`].
pub(super) const QUOTE: &str = "<|\"|>";

/// A format of tool calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolCallFormat {
    /// `<tool_call><function=NAME><parameter=KEY>VALUE</parameter></function></tool_call>`:
    /// Nemotron 3, Qwen3-Coder, Qwen3.5.
    Elements,
    /// `<function name="NAME"><param name="KEY">VALUE</param></function>`: MiniCPM5.
    NamedElements,
    /// `<tool_call>{"name", "arguments"}</tool_call>`: Hermes, Qwen2.5, Qwen3.
    TaggedJson,
    /// `<TOOLCALL>[{"name", "arguments"}]</TOOLCALL>`: Nemotron Nano 9B v2 and Llama-3.1-Nemotron.
    TaggedList,
    /// `<|tool_call|>[{"name", "arguments"}]`: Granite 3.
    MarkedList,
    /// `{"name", "parameters"}` as the whole answer, or after `<|python_tag|>`: Llama 3.1.
    BareJson,
    /// `<|tool_call_start|>[NAME(KEY=VALUE)]<|tool_call_end|>`, in Python's syntax: LFM2, LFM2.5.
    Python,
    /// `<|tool_call>call:NAME{KEY:VALUE}<tool_call|>`: Gemma 4.
    Gemma4,
    /// `[TOOL_CALLS]NAME[ARGS]{…}`, or a list of `{"name", "arguments"}` after `[TOOL_CALLS]`:
    /// Ministral 3, Mistral Small and Nemo.
    Mistral,
    /// `<|channel|>commentary to=functions.NAME<|message|>{…}`: gpt-oss.
    Harmony,
}

impl ToolCallFormat {
    /// Marks that start a call. Some models omit `<tool_call>`.
    pub(super) fn opening_marks(self) -> &'static [&'static str] {
        match self {
            ToolCallFormat::Elements => &[TOOL_CALL, FUNCTION],
            ToolCallFormat::NamedElements => &[NAMED_FUNCTION],
            ToolCallFormat::TaggedJson => &[TOOL_CALL],
            ToolCallFormat::TaggedList => &["<TOOLCALL>"],
            ToolCallFormat::MarkedList => &["<|tool_call|>"],
            ToolCallFormat::BareJson => &["<|python_tag|>"],
            ToolCallFormat::Python => &["<|tool_call_start|>"],
            ToolCallFormat::Gemma4 => &["<|tool_call>"],
            ToolCallFormat::Mistral => &["[TOOL_CALLS]"],
            // Parsed with the channels of the answer.
            ToolCallFormat::Harmony => &[],
        }
    }

    /// Mark that may follow a call and is not part of the text.
    pub(super) fn closing_mark(self) -> Option<&'static str> {
        match self {
            ToolCallFormat::Elements | ToolCallFormat::TaggedJson => Some(TOOL_CALL_END),
            ToolCallFormat::TaggedList => Some("</TOOLCALL>"),
            ToolCallFormat::Python => Some("<|tool_call_end|>"),
            ToolCallFormat::Gemma4 => Some("<tool_call|>"),
            ToolCallFormat::NamedElements
            | ToolCallFormat::MarkedList
            | ToolCallFormat::BareJson
            | ToolCallFormat::Mistral
            | ToolCallFormat::Harmony => None,
        }
    }

    /// Marks inside a call, which may be control tokens of the vocabulary.
    pub(super) fn inner_marks(self) -> &'static [&'static str] {
        match self {
            ToolCallFormat::Gemma4 => &[QUOTE],
            ToolCallFormat::Mistral => &[ARGUMENTS, CALL_ID],
            _ => &[],
        }
    }
}

/// Result of [`find_mark`].
pub(super) enum Found {
    At(usize, &'static str),
    /// The text from here on may be the start of a mark.
    Maybe(usize),
    Nowhere,
}

/// Finds the first of `marks` in `text`; of several at one place, the longest.
pub(super) fn find_mark(text: &str, marks: &[&'static str]) -> Found {
    let starts = |byte: &u8| marks.iter().any(|mark| mark.as_bytes().first() == Some(byte));
    for (at, _) in text.bytes().enumerate().filter(|(_, byte)| starts(byte)) {
        let tail = text.get(at..).unwrap_or("");
        if marks.iter().any(|mark| mark.len() > tail.len() && mark.starts_with(tail)) {
            return Found::Maybe(at);
        }
        let found = marks.iter().filter(|mark| tail.starts_with(**mark));
        if let Some(mark) = found.max_by_key(|mark| mark.len()) {
            return Found::At(at, mark);
        }
    }
    Found::Nowhere
}
