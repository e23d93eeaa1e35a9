//! Decoding of token texts, from the `decoder` of a `tokenizer.json`.

use serde_json::Value;

use super::components::Component;
use crate::error::{Error, Result, quoted};

const FIELD: &str = "decoder";
/// Maximum steps that change tokens.
const MAX_STEPS: usize = 16;
/// Maximum nesting of sequences.
const MAX_DEPTH: usize = 8;
/// Maximum bytes of a replacement, and maximum characters that Strip removes.
const MAX_STEP_LENGTH: usize = 64;

/// Starts of tokens that WordPiece's decoder joins to the text before them.
const JOINED: &[&str] = &[".", "?", "!", ",", "n't", "'m", "'s", "'ve", "'re"];

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
    /// WordPiece: removes the prefix of a token that continues a word, and puts a space before
    /// every other token but the first, unless `cleans_up` and it starts with one of [`JOINED`].
    Continue { prefix: String, cleans_up: bool },
    /// Replaces the mark by a space, or in the first token of a text by nothing if `none_in_first`.
    Mark { mark: char, none_in_first: bool },
}

impl DecodeRule {
    /// Applies all steps to a token's text.
    pub(super) fn apply(&self, text: &[u8], is_first: bool) -> Vec<u8> {
        let mut text = String::from_utf8_lossy(text).into_owned();
        for step in &self.steps {
            text = match step {
                DecodeStep::Replace(from, to) => text.replace(from, to),
                DecodeStep::StripStart(mark, most) => strip_start(&text, *mark, *most).to_owned(),
                DecodeStep::Continue { prefix, cleans_up } => {
                    match text.strip_prefix(prefix.as_str()) {
                        Some(rest) if !is_first => rest.to_owned(),
                        _ if is_first
                            || (*cleans_up && JOINED.iter().any(|mark| text.starts_with(mark))) =>
                        {
                            text
                        }
                        _ => format!(" {text}"),
                    }
                }
                DecodeStep::Mark { mark, none_in_first } => {
                    text.replace(*mark, if is_first && *none_in_first { "" } else { " " })
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
            DecodeStep::Continue { .. } => times.saturating_mul(2),
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
    let mut reader = Reader { byte_level, is_fused: byte_level, rule: DecodeRule::default() };
    match decoder {
        Some(value) => reader.read(Component::new(file, FIELD, value), 0)?,
        None if byte_level => {}
        None => {
            let expected = "a decoder for a vocabulary that is not byte-level";
            return Err(Error::unsupported_value(file, FIELD, "nothing", expected));
        }
    }
    Ok(reader.rule)
}

/// Collects the steps of decoder components.
struct Reader {
    byte_level: bool,
    /// True if the following components apply to the whole text instead of each token.
    is_fused: bool,
    rule: DecodeRule,
}

impl Reader {
    fn read(&mut self, component: Component<'_>, depth: usize) -> Result<()> {
        match component.kind() {
            "Sequence" if depth < MAX_DEPTH => {
                component.members("decoders").try_for_each(|member| self.read(member, depth + 1))
            }
            "ByteLevel" if self.byte_level => Ok(()),
            // Bytes are always combined into characters.
            "ByteFallback" => Ok(()),
            "Fuse" => {
                self.is_fused = true;
                Ok(())
            }
            "Replace" if !self.byte_level => self.replace(component),
            "Strip" => self.strip(component),
            "Metaspace" if !self.byte_level => {
                let keeps_first = component.str("prepend_scheme") == Some("never")
                    || component.flag("add_prefix_space") == Some(false);
                let mark = component.metaspace_mark()?;
                self.push(component, DecodeStep::Mark { mark, none_in_first: !keeps_first })
            }
            "WordPiece" if !self.byte_level => {
                let prefix = component.str("prefix").unwrap_or("##").to_owned();
                let cleans_up = component.flag("cleanup").unwrap_or(true);
                self.push(component, DecodeStep::Continue { prefix, cleans_up })
            }
            _ => Err(component.unknown_type(
                "Sequence, ByteLevel, ByteFallback, Fuse, Replace, Strip, Metaspace, WordPiece",
            )),
        }
    }

    fn replace(&mut self, component: Component<'_>) -> Result<()> {
        let from = component.text("pattern.String")?;
        let to = component.text("content")?;
        if from.is_empty() || to.len() > MAX_STEP_LENGTH {
            let found = format!("Replace of {} by {} bytes", quoted(from), to.len());
            let expected = format!("a pattern, and a replacement of at most {MAX_STEP_LENGTH}");
            return Err(component.unsupported(found, expected));
        }
        self.push(component, DecodeStep::Replace(from.to_owned(), to.to_owned()))
    }

    fn strip(&mut self, component: Component<'_>) -> Result<()> {
        let count = |key: &str| component.get(key).and_then(Value::as_u64).unwrap_or(0);
        if count("stop") != 0 {
            return Err(component.unsupported("Strip at the end", "Strip only at the start"));
        }
        let most = count("start").min(MAX_STEP_LENGTH as u64) as usize;
        match component.text("content")?.chars().next() {
            Some(mark) if self.is_fused => self.rule.strip_start = Some((mark, most)),
            Some(mark) => self.push(component, DecodeStep::StripStart(mark, most))?,
            None => {}
        }
        Ok(())
    }

    fn push(&mut self, component: Component<'_>, step: DecodeStep) -> Result<()> {
        if self.rule.steps.len() == MAX_STEPS {
            let found = format!("more than {MAX_STEPS} steps");
            return Err(component.unsupported(found, "at most as many"));
        }
        self.rule.steps.push(step);
        Ok(())
    }
}
