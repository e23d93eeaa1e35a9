//! Normalization of chat messages for templates: no null values, reasoning under the two names that
//! templates read, arguments of tool calls as objects or as JSON text.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use serde_json::{Map, Value};

use crate::error::Result;
use crate::text::tools::{call_arguments, parse_call_arguments};

/// Names that templates use for a message's reasoning, the most common first.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// Forms of `messages` that templates expect, in the order in which to try them; only one for a
/// chat without tool calls. With `keeps_null` the template distinguishes null content from empty
/// content. Errors: as for [`parse_call_arguments`].
pub fn message_forms(messages: &Value, keeps_null: bool) -> Result<Vec<Value>> {
    let mut objects = messages.clone();
    flatten_text_parts(&mut objects);
    parse_call_arguments(&mut objects)?;
    each(&mut objects, |message| {
        let is_null = message.get("content").is_some_and(Value::is_null);
        message.retain(|_, value| !value.is_null());
        let is_answer = message.get("role").is_some_and(|role| role == "assistant");
        if is_answer && keeps_null && is_null {
            message.insert("content".to_owned(), Value::Null);
        } else if is_answer && !keeps_null && (is_null || message.contains_key("tool_calls")) {
            message.entry("content").or_insert_with(|| Value::from(""));
        }
        name_reasoning(message);
    });
    let mut filled = objects.clone();
    each(&mut filled, |message| {
        if message.contains_key("tool_calls") && message.get("content").is_none_or(Value::is_null) {
            message.insert("content".to_owned(), Value::from(""));
        }
    });
    let mut texts = filled.clone();
    write_call_arguments(&mut texts, messages);
    // Beside calls, gpt-oss's template takes either reasoning or content.
    let mut bare = objects.clone();
    each(&mut bare, |message| {
        if message.contains_key("tool_calls") && message.contains_key("thinking") {
            message.remove("content");
        }
    });
    let mut forms = vec![objects, filled, texts, bare];
    forms.dedup();
    Ok(forms)
}

fn each(messages: &mut Value, mut change: impl FnMut(&mut Map<String, Value>)) {
    for message in messages.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        change(message);
    }
}

/// Stores the reasoning under both names that templates read.
fn name_reasoning(message: &mut Map<String, Value>) {
    let Some(reasoning) = REASONING.iter().find_map(|name| message.get(*name)).cloned() else {
        return;
    };
    message.entry("thinking").or_insert_with(|| reasoning.clone());
    message.insert("reasoning_content".to_owned(), reasoning);
}

/// Replaces the arguments of tool calls by text: the text in `given`, the messages of the request,
/// or else JSON in Python's format.
fn write_call_arguments(messages: &mut Value, given: &Value) {
    for (index, call_index, arguments) in call_arguments(messages) {
        let given = given[index]["tool_calls"][call_index]["function"]["arguments"].as_str();
        let text = given.filter(|text| !text.trim().is_empty()).map(str::to_owned);
        *arguments = Value::String(text.unwrap_or_else(|| spaced_json(arguments)));
    }
}

/// JSON with a space after every comma and colon, as Python writes it.
fn spaced_json(value: &Value) -> String {
    let mut out = Vec::new();
    // Writing to memory does not fail, and the output is UTF-8.
    let written = value.serialize(&mut Serializer::with_formatter(&mut out, Spaced));
    written.ok().and_then(|()| String::from_utf8(out).ok()).unwrap_or_else(|| value.to_string())
}

/// A `serde_json` formatter for [`spaced_json`].
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

/// Replaces content that is a list of text parts, which OpenAI's API allows, by a single string:
/// most templates expect strings. Content with other parts is left unchanged.
pub fn flatten_text_parts(messages: &mut Value) {
    for message in messages.as_array_mut().into_iter().flatten() {
        let Some(content) = message.get_mut("content") else { continue };
        let part = |part: &Value| match part.get("type").and_then(Value::as_str) {
            Some("text") => part.get("text").and_then(Value::as_str).map(str::to_owned),
            _ => None,
        };
        let text =
            content.as_array().and_then(|parts| parts.iter().map(part).collect::<Option<String>>());
        if let Some(text) = text {
            *content = Value::String(text);
        }
    }
}
