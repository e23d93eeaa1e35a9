//! Messages as templates read them: nothing that is null, reasoning under both of its names, the
//! arguments of calls as an object or as text.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use serde_json::{Map, Value};

use super::chat::flatten_text_parts;
use super::tools::read_call_arguments;
use crate::error::Result;

/// Names that templates have for a message's reasoning, the usual one first.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// The forms of `messages` that a template may want, in the order in which they are tried. There
/// is one for a chat without calls.
///
/// `keeps_null` says that the template tells a null content from an empty one.
pub fn message_forms(messages: &Value, keeps_null: bool) -> Result<Vec<Value>> {
    let mut objects = messages.clone();
    flatten_text_parts(&mut objects);
    read_call_arguments(&mut objects)?;
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
    let mut forms = vec![objects, filled, texts];
    forms.dedup();
    Ok(forms)
}

fn each(messages: &mut Value, mut change: impl FnMut(&mut Map<String, Value>)) {
    for message in messages.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        change(message);
    }
}

/// Gives the reasoning both names that templates read.
fn name_reasoning(message: &mut Map<String, Value>) {
    let Some(reasoning) = REASONING.iter().find_map(|name| message.get(*name)).cloned() else {
        return;
    };
    message.entry("thinking").or_insert_with(|| reasoning.clone());
    message.insert("reasoning_content".to_owned(), reasoning);
}

/// Turns the arguments of calls into text: the request's own, else JSON as Python writes it.
fn write_call_arguments(messages: &mut Value, given: &Value) {
    for (index, message) in messages.as_array_mut().into_iter().flatten().enumerate() {
        let calls = message.get_mut("tool_calls").and_then(Value::as_array_mut);
        for (call_index, call) in calls.into_iter().flatten().enumerate() {
            let Some(arguments) =
                call.get_mut("function").and_then(|call| call.get_mut("arguments"))
            else {
                continue;
            };
            let given = given[index]["tool_calls"][call_index]["function"]["arguments"].as_str();
            let text = given.filter(|text| !text.trim().is_empty()).map(str::to_owned);
            *arguments = Value::String(text.unwrap_or_else(|| spaced_json(arguments)));
        }
    }
}

/// JSON with a space after every comma and colon.
pub fn spaced_json(value: &Value) -> String {
    let mut out = Vec::new();
    // Writing into memory does not fail, and what is written is UTF-8.
    let written = value.serialize(&mut Serializer::with_formatter(&mut out, Spaced));
    written.ok().and_then(|()| String::from_utf8(out).ok()).unwrap_or_else(|| value.to_string())
}

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
