//! How ids become text, from the `decoder` of a `tokenizer.json`.

use serde_json::Value;

use super::split::{flag, kind, members, unsupported};
use super::tokenizer_gguf::shown;
use super::vocabulary::{DecodeRule, DecodeStep};
use crate::error::{Error, Result};

const FIELD: &str = "decoder";
/// Most steps that change tokens.
const MAX_STEPS: usize = 16;

/// The rule of a file; a decoder that is not known here is `unsupported-format`.
pub(super) fn rule(file: &str, decoder: Option<&Value>, byte_level: bool) -> Result<DecodeRule> {
    let mut reader = Reader { file, byte_level, is_fused: byte_level, rule: DecodeRule::default() };
    match decoder {
        Some(value) => reader.read(value, 0)?,
        None if byte_level => {}
        None => {
            let message = "none, expected one for a vocabulary that is not byte-level";
            return Err(unsupported(file, FIELD, message));
        }
    }
    Ok(reader.rule)
}

struct Reader<'a> {
    file: &'a str,
    byte_level: bool,
    /// Whether what comes next sees the whole text, not each token.
    is_fused: bool,
    rule: DecodeRule,
}

impl Reader<'_> {
    fn read(&mut self, value: &Value, depth: usize) -> Result<()> {
        match kind(value) {
            "Sequence" if depth < 8 => {
                for member in members(value, "decoders") {
                    self.read(member, depth + 1)?;
                }
            }
            "ByteLevel" if self.byte_level => {}
            // Bytes are put together here whatever the file says.
            "ByteFallback" => {}
            "Fuse" => self.is_fused = true,
            "Replace" if !self.byte_level => {
                let from = self
                    .text(value, value.get("pattern").and_then(|pattern| pattern.get("String")))?;
                let to = self.text(value, value.get("content"))?;
                self.replace(from, to)?;
            }
            "Strip" => self.strip(value)?,
            "Metaspace" if !self.byte_level => {
                let mark = value.get("replacement").and_then(Value::as_str).unwrap_or("▁");
                let never = value.get("prepend_scheme").and_then(Value::as_str) == Some("never")
                    || flag(value, "add_prefix_space") == Some(false);
                if mark.chars().count() != 1 {
                    let message =
                        format!("Metaspace replacement `{}`, expected one character", shown(mark));
                    return Err(Error::malformed(self.file, FIELD, message));
                }
                self.step(DecodeStep::Mark { mark: mark.to_owned(), none_in_first: !never })?;
            }
            other => {
                let known = "Sequence, ByteLevel, ByteFallback, Fuse, Replace, Strip, Metaspace";
                let message = format!("`{}`, expected one of {known}", shown(other));
                return Err(unsupported(self.file, FIELD, message));
            }
        }
        Ok(())
    }

    fn replace(&mut self, from: String, to: String) -> Result<()> {
        if from.is_empty() || to.len() > 64 {
            let message = "Replace of nothing, or by more than 64 bytes";
            return Err(unsupported(self.file, FIELD, message));
        }
        self.step(DecodeStep::Replace(from, to))
    }

    fn strip(&mut self, value: &Value) -> Result<()> {
        if value.get("stop").and_then(Value::as_u64).unwrap_or(0) != 0 {
            return Err(unsupported(
                self.file,
                FIELD,
                "Strip at the end, expected only at the start",
            ));
        }
        let most = value.get("start").and_then(Value::as_u64).unwrap_or(0).min(64) as usize;
        match self.text(value, value.get("content"))?.chars().next() {
            Some(mark) if self.is_fused => self.rule.strip_start = Some((mark, most)),
            Some(mark) => self.step(DecodeStep::StripStart(mark, most))?,
            None => {}
        }
        Ok(())
    }

    fn step(&mut self, step: DecodeStep) -> Result<()> {
        if self.rule.steps.len() == MAX_STEPS {
            return Err(unsupported(self.file, FIELD, format!("more than {MAX_STEPS} steps")));
        }
        self.rule.steps.push(step);
        Ok(())
    }

    fn text(&self, whole: &Value, part: Option<&Value>) -> Result<String> {
        part.and_then(Value::as_str).map(str::to_owned).ok_or_else(|| {
            Error::malformed(self.file, FIELD, format!("`{}` lacks a text", shown(kind(whole))))
        })
    }
}
