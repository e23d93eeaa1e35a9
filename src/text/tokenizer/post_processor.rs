//! The `post_processor` of a `tokenizer.json`: ids before and after a text.

use serde_json::Value;

use super::components::{component_type, members};
use crate::error::{Error, Result, quoted};

const FIELD: &str = "post_processor";
/// Maximum ids before a text, and after one.
const MAX_IDS: usize = 64;
/// Maximum ids of one special token of a template.
const MAX_TOKEN_IDS: usize = 16;
/// Maximum nesting of sequences.
const MAX_DEPTH: usize = 8;

/// Ids put before and after a single text. Errors: `malformed`, or `unsupported-format` for an
/// unknown post-processor.
pub(super) fn surrounding_ids(file: &str, value: &Value) -> Result<(Vec<u32>, Vec<u32>)> {
    let (mut prefix, mut suffix) = (Vec::new(), Vec::new());
    read(file, value, 0, &mut prefix, &mut suffix)?;
    Ok((prefix, suffix))
}

fn read(
    file: &str,
    value: &Value,
    depth: usize,
    prefix: &mut Vec<u32>,
    suffix: &mut Vec<u32>,
) -> Result<()> {
    match component_type(value) {
        "Sequence" if depth < MAX_DEPTH => {
            for member in members(value, "processors") {
                read(file, member, depth + 1, prefix, suffix)?;
            }
            Ok(())
        }
        "TemplateProcessing" => {
            let mut after = false;
            for piece in members(value, "single") {
                let Some(name) = piece.get("SpecialToken").and_then(|token| token.get("id")) else {
                    after = true;
                    continue;
                };
                let entry =
                    value.get("special_tokens").and_then(|tokens| tokens.get(name.as_str()?));
                let ids = entry.map_or(&[][..], |entry| members(entry, "ids"));
                if ids.is_empty() || ids.len() > MAX_TOKEN_IDS {
                    let found = format!("{} ids for {name}", ids.len());
                    let expected = format!("1 to {MAX_TOKEN_IDS}");
                    return Err(Error::malformed_value(file, FIELD, found, expected));
                }
                for id in ids {
                    let number = id.as_u64().and_then(|id| u32::try_from(id).ok());
                    let id = number.ok_or_else(|| {
                        let found = format!("id {id} for {name}");
                        Error::malformed_value(file, FIELD, found, "a 32-bit unsigned integer")
                    })?;
                    if after { suffix.push(id) } else { prefix.push(id) }
                }
                if prefix.len().max(suffix.len()) > MAX_IDS {
                    let found = format!("more than {MAX_IDS} ids before or after a text");
                    return Err(Error::unsupported_value(file, FIELD, found, "at most as many"));
                }
            }
            Ok(())
        }
        // Only changes offsets.
        "ByteLevel" | "" => Ok(()),
        other => {
            let expected = "Sequence, TemplateProcessing or ByteLevel";
            Err(Error::unsupported_value(file, FIELD, quoted(other), expected))
        }
    }
}
