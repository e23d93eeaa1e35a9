//! Decoding of token texts, from the `decoder` of a `tokenizer.json`.

use serde_json::Value;

use super::components::{component_type, flag, members};
use crate::error::{Error, Result, excerpt, quoted};

const FIELD: &str = "decoder";
/// Maximum steps that change tokens.
const MAX_STEPS: usize = 16;
/// Maximum nesting of sequences.
const MAX_DEPTH: usize = 8;
/// Maximum bytes of a replacement, and maximum characters that Strip removes.
const MAX_STEP_LENGTH: usize = 64;

/// Rules for turning the token texts of a vocabulary that is not byte-level into bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct DecodeRule {
    /// Applied to each token, in order.
    pub(super) steps: Vec<DecodeStep>,
    /// Removes up to this many occurrences of a character from the start of a text.
    pub(super) strip_start: Option<(char, usize)>,
}

/// A transformation of a token's text during decoding.
#[derive(Debug, Clone)]
pub(super) enum DecodeStep {
    /// Replaces the first string by the second, such as `▁` by a space.
    Replace(String, String),
    /// Removes up to this many occurrences of a character from the start of the token.
    StripStart(char, usize),
    /// Replaces the mark by a space, or in the first token of a text by nothing if `none_in_first`.
    Mark { mark: String, none_in_first: bool },
}

impl DecodeRule {
    /// Applies all steps to a token's text.
    pub(super) fn apply(&self, text: &[u8], is_first: bool) -> Vec<u8> {
        let mut text = String::from_utf8_lossy(text).into_owned();
        for step in &self.steps {
            text = match step {
                DecodeStep::Replace(from, to) => text.replace(from, to),
                DecodeStep::StripStart(mark, most) => strip_start(&text, *mark, *most).to_owned(),
                DecodeStep::Mark { mark, none_in_first } => {
                    text.replace(mark, if is_first && *none_in_first { "" } else { " " })
                }
            };
        }
        text.into_bytes()
    }

    /// Upper bound of the factor by which the steps lengthen a token.
    pub(super) fn growth(&self) -> usize {
        self.steps.iter().fold(1, |times, step| match step {
            DecodeStep::Replace(from, to) => {
                times.saturating_mul(to.len().div_ceil(from.len().max(1)).max(1))
            }
            DecodeStep::StripStart(..) | DecodeStep::Mark { .. } => times,
        })
    }
}

/// `text` without up to `most` leading occurrences of `mark`.
pub(super) fn strip_start(text: &str, mark: char, most: usize) -> &str {
    let found = text.chars().take(most).take_while(|&character| character == mark).count();
    text.get(found * mark.len_utf8()..).unwrap_or("")
}

/// The rule for the `decoder` of a file; `unsupported-format` for an unknown type.
pub(super) fn from_json(
    file: &str,
    decoder: Option<&Value>,
    byte_level: bool,
) -> Result<DecodeRule> {
    let mut reader = Reader { file, byte_level, is_fused: byte_level, rule: DecodeRule::default() };
    match decoder {
        Some(value) => reader.read(value, 0)?,
        None if byte_level => {}
        None => {
            let expected = "a decoder for a vocabulary that is not byte-level";
            return Err(reader.unsupported("nothing", expected));
        }
    }
    Ok(reader.rule)
}

struct Reader<'a> {
    file: &'a str,
    byte_level: bool,
    /// True if the following components apply to the whole text instead of each token.
    is_fused: bool,
    rule: DecodeRule,
}

impl Reader<'_> {
    fn read(&mut self, value: &Value, depth: usize) -> Result<()> {
        match component_type(value) {
            "Sequence" if depth < MAX_DEPTH => {
                for member in members(value, "decoders") {
                    self.read(member, depth + 1)?;
                }
            }
            "ByteLevel" if self.byte_level => {}
            // Bytes are always combined into characters.
            "ByteFallback" => {}
            "Fuse" => self.is_fused = true,
            "Replace" if !self.byte_level => self.replace(value)?,
            "Strip" => self.strip(value)?,
            "Metaspace" if !self.byte_level => {
                let mark = value.get("replacement").and_then(Value::as_str).unwrap_or("▁");
                let never = value.get("prepend_scheme").and_then(Value::as_str) == Some("never")
                    || flag(value, "add_prefix_space") == Some(false);
                if mark.chars().count() != 1 {
                    let found = format!("Metaspace replacement {}", quoted(mark));
                    return Err(Error::malformed_value(self.file, FIELD, found, "one character"));
                }
                self.push(DecodeStep::Mark { mark: mark.to_owned(), none_in_first: !never })?;
            }
            other => {
                let known = "Sequence, ByteLevel, ByteFallback, Fuse, Replace, Strip, Metaspace";
                return Err(self.unsupported(quoted(other), format!("one of {known}")));
            }
        }
        Ok(())
    }

    fn replace(&mut self, value: &Value) -> Result<()> {
        let pattern = value.get("pattern").and_then(|pattern| pattern.get("String"));
        let from = self.text(value, "pattern.String", pattern)?;
        let to = self.text(value, "content", value.get("content"))?;
        if from.is_empty() || to.len() > MAX_STEP_LENGTH {
            let found = format!("Replace of {} by {} bytes", quoted(&from), to.len());
            let expected = format!("a pattern, and a replacement of at most {MAX_STEP_LENGTH}");
            return Err(self.unsupported(found, expected));
        }
        self.push(DecodeStep::Replace(from, to))
    }

    fn strip(&mut self, value: &Value) -> Result<()> {
        if value.get("stop").and_then(Value::as_u64).unwrap_or(0) != 0 {
            return Err(self.unsupported("Strip at the end", "Strip only at the start"));
        }
        let most = value.get("start").and_then(Value::as_u64).unwrap_or(0);
        let most = most.min(MAX_STEP_LENGTH as u64) as usize;
        match self.text(value, "content", value.get("content"))?.chars().next() {
            Some(mark) if self.is_fused => self.rule.strip_start = Some((mark, most)),
            Some(mark) => self.push(DecodeStep::StripStart(mark, most))?,
            None => {}
        }
        Ok(())
    }

    fn push(&mut self, step: DecodeStep) -> Result<()> {
        if self.rule.steps.len() == MAX_STEPS {
            return Err(self.unsupported(format!("more than {MAX_STEPS} steps"), "at most as many"));
        }
        self.rule.steps.push(step);
        Ok(())
    }

    fn text(&self, component: &Value, key: &str, value: Option<&Value>) -> Result<String> {
        value.and_then(Value::as_str).map(str::to_owned).ok_or_else(|| {
            let field = format!("{FIELD}: {}.{key}", component_type(component));
            let found = value.map_or("nothing".to_owned(), excerpt);
            Error::malformed_value(self.file, &field, found, "text")
        })
    }

    fn unsupported(
        &self,
        found: impl std::fmt::Display,
        expected: impl std::fmt::Display,
    ) -> Error {
        Error::unsupported_value(self.file, FIELD, found, expected)
    }
}
