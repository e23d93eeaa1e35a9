//! The `post_processor` of a `tokenizer.json`: ids before and after a text.

use serde_json::Value;

use super::components::Component;
use crate::error::{Result, quoted};

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
    read(Component::new(file, FIELD, value), 0, &mut prefix, &mut suffix)?;
    Ok((prefix, suffix))
}

fn read(
    component: Component<'_>,
    depth: usize,
    prefix: &mut Vec<u32>,
    suffix: &mut Vec<u32>,
) -> Result<()> {
    match component.kind() {
        "Sequence" if depth < MAX_DEPTH => {
            let mut members = component.members("processors");
            members.try_for_each(|member| read(member, depth + 1, prefix, suffix))
        }
        "TemplateProcessing" => read_template(component, prefix, suffix),
        "BertProcessing" | "RobertaProcessing" => {
            for (key, ids) in [("cls", prefix), ("sep", suffix)] {
                let id = component.get(key).and_then(|pair| pair.get(1)).and_then(Value::as_u64);
                let id = id.and_then(|id| u32::try_from(id).ok()).ok_or_else(|| {
                    let found = format!("{key} {}", component.excerpt(key));
                    component.malformed(found, "a text and a 32-bit id")
                })?;
                ids.push(id);
            }
            Ok(())
        }
        // Only changes offsets.
        "ByteLevel" | "" => Ok(()),
        other => {
            let expected = "Sequence, TemplateProcessing, BertProcessing, RobertaProcessing or \
                            ByteLevel";
            Err(component.unsupported(quoted(other), expected))
        }
    }
}

/// Reads the template for a single text: special tokens before and after the text.
fn read_template(
    component: Component<'_>,
    prefix: &mut Vec<u32>,
    suffix: &mut Vec<u32>,
) -> Result<()> {
    let mut is_after_text = false;
    for piece in component.members("single") {
        let Some(name) = piece.get("SpecialToken.id") else {
            is_after_text = true;
            continue;
        };
        let tokens = component.get("special_tokens");
        let token = tokens.and_then(|tokens| tokens.get(name.as_str()?));
        let ids = token.and_then(|token| token.get("ids")).and_then(Value::as_array);
        let ids = ids.map_or(&[][..], Vec::as_slice);
        if ids.is_empty() || ids.len() > MAX_TOKEN_IDS {
            let found = format!("{} ids for {name}", ids.len());
            return Err(component.malformed(found, format!("1 to {MAX_TOKEN_IDS}")));
        }
        for id in ids {
            let number = id.as_u64().and_then(|id| u32::try_from(id).ok());
            let id = number.ok_or_else(|| {
                component.malformed(format!("id {id} for {name}"), "a 32-bit unsigned integer")
            })?;
            if is_after_text { suffix.push(id) } else { prefix.push(id) }
        }
        if prefix.len().max(suffix.len()) > MAX_IDS {
            let found = format!("more than {MAX_IDS} ids before or after a text");
            return Err(component.unsupported(found, "at most as many"));
        }
    }
    Ok(())
}
