//! Access to the fields of a `tokenizer.json` component: a normalizer, pre-tokenizer,
//! post-processor or decoder.

use serde_json::Value;

/// Maximum factor by which all replacements of a file together may lengthen a text, and maximum
/// bytes of a text that a component inserts.
pub(super) const MAX_GROWTH: usize = 64;

/// The `type` of a component; empty if there is none.
pub(super) fn component_type(value: &Value) -> &str {
    value.get("type").and_then(Value::as_str).unwrap_or("")
}

/// Members of a sequence, listed under `key`.
pub(super) fn members<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// An optional boolean.
pub(super) fn flag(value: &Value, key: &str) -> Option<bool> {
    value.get(key).and_then(Value::as_bool)
}
