//! Answers in the formats of tool calls that came after 2024, and their expected parts. Real forms
//! are those of llama.cpp's tests (`test-chat.cpp`) and of the templates.

pub(super) mod gemma4;
pub(super) mod harmony;
pub(super) mod mistral;
pub(super) mod named_elements;
pub(super) mod python;

use super::answer_cases::Answer;

const NOW: &[(&str, &str)] = &[("now", "{}")];
