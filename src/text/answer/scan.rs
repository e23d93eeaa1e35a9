//! Results of the scanners of tool calls.

use serde_json::{Map, Value};

/// A function name and its arguments.
pub(super) type ToolCallText = (String, Map<String, Value>);

/// Result of continuing a scan.
pub(super) enum Scan {
    /// The text may still become a call.
    More,
    /// The call or calls end at this byte.
    Calls(usize, Vec<ToolCallText>),
    /// The text is not a call. Its bytes up to this one, at least one, are ordinary text.
    Broken(usize),
}
