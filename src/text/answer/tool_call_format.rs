//! Formats in which models write tool calls, and the marks that delimit them.

pub(super) const FUNCTION: &str = "<function=";
pub(super) const TOOL_CALL: &str = "<tool_call>";
pub(super) const TOOL_CALL_END: &str = "</tool_call>";

/// A format of tool calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolCallFormat {
    /// `<tool_call><function=NAME><parameter=KEY>VALUE</parameter></function></tool_call>`:
    /// Nemotron 3, Qwen3-Coder.
    Elements,
    /// `<tool_call>{"name", "arguments"}</tool_call>`: Hermes, Qwen2.5.
    TaggedJson,
    /// `<TOOLCALL>[{"name", "arguments"}]</TOOLCALL>`: Nemotron Nano 9B v2 and Llama-3.1-Nemotron.
    TaggedList,
    /// `{"name", "parameters"}` as the whole answer, or after `<|python_tag|>`: Llama 3.1.
    BareJson,
}

impl ToolCallFormat {
    /// Marks that start a call. Some models omit `<tool_call>`.
    pub(super) fn opening_marks(self) -> &'static [&'static str] {
        match self {
            ToolCallFormat::Elements => &[TOOL_CALL, FUNCTION],
            ToolCallFormat::TaggedJson => &[TOOL_CALL],
            ToolCallFormat::TaggedList => &["<TOOLCALL>"],
            ToolCallFormat::BareJson => &["<|python_tag|>"],
        }
    }

    /// Mark that may follow a call and is not part of the text.
    pub(super) fn closing_mark(self) -> Option<&'static str> {
        match self {
            ToolCallFormat::Elements | ToolCallFormat::TaggedJson => Some(TOOL_CALL_END),
            ToolCallFormat::TaggedList => Some("</TOOLCALL>"),
            ToolCallFormat::BareJson => None,
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

/// Finds the first of `marks` in `text`. All marks start with `<` and contain no further `<`.
pub(super) fn find_mark(text: &str, marks: &[&'static str]) -> Found {
    for (at, _) in text.match_indices('<') {
        let tail = text.get(at..).unwrap_or("");
        if let Some(mark) = marks.iter().find(|mark| tail.starts_with(**mark)) {
            return Found::At(at, mark);
        }
        if marks.iter().any(|mark| mark.starts_with(tail)) {
            return Found::Maybe(at);
        }
    }
    Found::Nowhere
}
