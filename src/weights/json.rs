//! JSON of checkpoints, which may contain non-finite numbers in either of two notations.
//!
//! Python writes the bare words `Infinity`, `-Infinity` and `NaN`, which are not JSON; transformers
//! 5 writes objects such as `{"__float__": "Infinity"}`. Bare words are converted to objects.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// Key of an object that represents a non-finite number.
const TAG: &str = "__float__";
/// Maximum bare words in a file, far more than any has: bounds the memory of their replacement.
const MAX_BARE_WORDS: usize = 10_000;

/// A number, which may be non-finite.
pub fn number(value: &Value) -> Option<f64> {
    let tagged = value.as_object().filter(|object| object.len() == 1);
    // A plain string is what `tablm quantize` wrote up to version 0.1.
    match tagged.and_then(|object| object.get(TAG)).unwrap_or(value) {
        Value::Number(number) if tagged.is_none() => number.as_f64(),
        Value::String(word) => match word.as_str() {
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            "NaN" => Some(f64::NAN),
            _ => None,
        },
        _ => None,
    }
}

/// Parses a file, which may start with a byte order mark. Bare words become objects.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    serde_json::from_slice(bytes).or_else(|error| match tag_words(bytes) {
        Some(strict) => serde_json::from_slice(&strict),
        None => Err(error),
    })
}

/// Text with bare words replaced by objects; `None` if there are none, or too many.
fn tag_words(json: &[u8]) -> Option<Vec<u8>> {
    const WORDS: [&[u8]; 3] = [b"-Infinity", b"Infinity", b"NaN"];
    let mut strict = Vec::with_capacity(json.len());
    let (mut at, mut in_string, mut count) = (0, false, 0);
    while let Some(&byte) = json.get(at) {
        let rest = json.get(at..).unwrap_or_default();
        if let Some(word) = WORDS.iter().find(|word| !in_string && rest.starts_with(word)) {
            strict.extend([br#"{""#, TAG.as_bytes(), br#"":""#, word, br#""}"#].concat());
            at += word.len();
            count += 1;
            continue;
        }
        in_string ^= byte == b'"';
        let length = if in_string && byte == b'\\' { 2 } else { 1 };
        strict.extend(rest.iter().take(length));
        at += length;
    }
    (1..=MAX_BARE_WORDS).contains(&count).then_some(strict)
}
