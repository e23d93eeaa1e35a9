//! Incremental scanners for tool calls: where a call ends, what it contains, and where text that
//! started like a call turns out not to be one. A scanner reads every byte once.

use super::elements::ElementScanner;
use super::gemma4_calls::Gemma4Scanner;
use super::json_calls::{JsonScanner, MistralScanner};
use super::python_calls::PythonScanner;
use super::scan::Scan;
use super::tool_call_format::{FUNCTION, ToolCallFormat};
use crate::text::tools::Tools;

/// Scanner of one call.
pub(super) enum Scanner {
    Json(JsonScanner),
    Elements(ElementScanner),
    Python(PythonScanner),
    Gemma4(Gemma4Scanner),
    Mistral(MistralScanner),
}

impl ToolCallFormat {
    /// Creates a scanner for text that starts with `mark`, or with a bare call if `mark` is empty.
    pub(super) fn scanner(self, mark: &str) -> Scanner {
        let at = mark.len();
        match self {
            ToolCallFormat::Elements if mark == FUNCTION => {
                Scanner::Elements(ElementScanner::default())
            }
            ToolCallFormat::Elements => Scanner::Elements(ElementScanner::after(at)),
            ToolCallFormat::NamedElements => Scanner::Elements(ElementScanner::named()),
            ToolCallFormat::Python => Scanner::Python(PythonScanner::after(at)),
            ToolCallFormat::Gemma4 => Scanner::Gemma4(Gemma4Scanner::after(at)),
            ToolCallFormat::Mistral => Scanner::Mistral(MistralScanner::after(at)),
            ToolCallFormat::TaggedJson
            | ToolCallFormat::TaggedList
            | ToolCallFormat::MarkedList
            | ToolCallFormat::BareJson
            | ToolCallFormat::Harmony => {
                Scanner::Json(JsonScanner::after(at, self == ToolCallFormat::BareJson))
            }
        }
    }
}

impl Scanner {
    /// Continues the scan in `text`, which starts at the tool call and may only have grown since
    /// the previous invocation.
    pub(super) fn advance(&mut self, text: &str, tools: &Tools) -> Scan {
        match self {
            Scanner::Json(scanner) => scanner.advance(text, tools),
            Scanner::Elements(scanner) => scanner.advance(text, tools),
            Scanner::Python(scanner) => scanner.advance(text),
            Scanner::Gemma4(scanner) => scanner.advance(text),
            Scanner::Mistral(scanner) => scanner.advance(text, tools),
        }
    }
}
