//! Detection of files that are not models, for helpful error messages.

use crate::error::{Error, quoted};

/// Bytes at the start of a file that suffice for detection.
pub(super) const HEAD_BYTES: u64 = 512;

/// `malformed`: describes the content of the file.
pub(super) fn not_a_model(file: &str, head: &[u8], expected: &str) -> Error {
    Error::malformed_value(file, "magic", describe(head), expected)
}

/// Describes a file by its first bytes.
pub(super) fn describe(head: &[u8]) -> String {
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let starts = |prefix: &[u8]| {
        text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let what = if head.is_empty() {
        "an empty file"
    } else if starts(b"<!doctype html") || starts(b"<html") || starts(b"<head") || starts(b"<!--") {
        "an HTML page instead of a model (the download was answered by a web page)"
    } else if starts(b"<") {
        "XML or HTML text instead of a model (an error response of a server?)"
    } else if starts(b"version https://git-lfs") {
        "a Git LFS pointer instead of the file it points to"
    } else if starts(b"{") || starts(b"[") {
        "JSON text instead of a model (an error response of a server?)"
    } else if head.starts_with(b"PK\x03\x04") {
        "a zip archive (a PyTorch file?)"
    } else if head.starts_with(&[0x1f, 0x8b]) {
        "a gzip archive"
    } else if [b"ggml", b"tjgg", b"fmgg", b"algg", b"lmgg"]
        .iter()
        .any(|magic| head.starts_with(*magic))
    {
        "a GGML file from before GGUF"
    } else if is_safetensors(head) {
        "a single safetensors file without the folder's config.json and tokenizer.json"
    } else {
        return unknown(head);
    };
    what.to_owned()
}

/// True if this is the start of a safetensors file: a header length, then JSON.
pub(super) fn is_safetensors(head: &[u8]) -> bool {
    head.get(8) == Some(&b'{') && head[5..8] == [0, 0, 0]
}

/// Describes unknown content by its first bytes, as text if possible.
fn unknown(head: &[u8]) -> String {
    let start = &head[..head.len().min(40)];
    match std::str::from_utf8(start) {
        Ok(text) if !text.chars().any(|c| c.is_control() && !c.is_whitespace()) => {
            format!("text that begins with {}", quoted(text))
        }
        _ => {
            let bytes: Vec<String> =
                start.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
            format!("bytes {}", bytes.join(" "))
        }
    }
}
