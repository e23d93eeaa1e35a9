//! Marks of the messages of gpt-oss.

pub(super) const START: &str = "<|start|>";
pub(super) const CHANNEL: &str = "<|channel|>";
pub(super) const CONSTRAIN: &str = "<|constrain|>";
pub(super) const MESSAGE: &str = "<|message|>";
pub(super) const END: &str = "<|end|>";
pub(super) const RETURN: &str = "<|return|>";
pub(super) const CALL: &str = "<|call|>";
/// Marks of messages, which are control tokens of the vocabulary.
pub(super) const MARKS: &[&str] = &[START, CHANNEL, CONSTRAIN, MESSAGE, END, RETURN, CALL];
