//! Tools of a request: validation, types of arguments, and parsing of earlier calls.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::error::{Error, Result, excerpt};

/// Validated function definitions in OpenAI's format.
#[derive(Debug, Clone)]
pub struct Tools(Value);

impl Tools {
    /// Checks `[{type: "function", function: {name, description?, parameters?}}]`;
    /// `invalid-request` names the invalid field.
    pub fn new(tools: Value) -> Result<Self> {
        let refuse = |field: &str, found: &Value, expected: &str| {
            Err(Error::invalid_value(field, excerpt(found), expected))
        };
        let Some(list) = tools.as_array() else { return refuse("tools", &tools, "a list") };
        let mut names = HashSet::new();
        for (index, tool) in list.iter().enumerate() {
            let field = format!("tools[{index}]");
            if tool["type"] != "function" {
                return refuse(&format!("{field}.type"), &tool["type"], "\"function\"");
            }
            let (function, field) = (&tool["function"], format!("{field}.function"));
            let name = &function["name"];
            if name.as_str().is_none_or(str::is_empty) {
                return refuse(&format!("{field}.name"), name, "a name");
            }
            if !names.insert(name.as_str()) {
                return refuse(&format!("{field}.name"), name, "a name that no other tool has");
            }
            let absent = |key: &str| function.get(key).is_none_or(Value::is_null);
            if !absent("description") && !function["description"].is_string() {
                return refuse(&format!("{field}.description"), &function["description"], "text");
            }
            if !absent("parameters") && !function["parameters"].is_object() {
                return refuse(
                    &format!("{field}.parameters"),
                    &function["parameters"],
                    "a JSON schema",
                );
            }
        }
        Ok(Self(tools))
    }

    /// The list of tools, for templates.
    pub fn list(&self) -> &Value {
        &self.0
    }

    /// True if there are no tools.
    pub fn is_empty(&self) -> bool {
        self.0.as_array().is_none_or(Vec::is_empty)
    }

    /// True if there is a tool of the given name.
    pub fn contains(&self, name: &str) -> bool {
        self.function(name).is_some()
    }

    fn function(&self, name: &str) -> Option<&Value> {
        let mut functions = self.0.as_array()?.iter().map(|tool| &tool["function"]);
        functions.find(|function| function["name"] == name)
    }

    /// Value of an argument that a model wrote as `text`, in a tool-call format that has strings
    /// without quotes and other values as JSON. The value is a string if the schema declares a
    /// string, or if the text is not JSON of a declared type. Without a declared type only lists
    /// and objects are read as JSON.
    pub(super) fn argument(&self, function: &str, name: &str, text: &str) -> Value {
        let mut types = Vec::new();
        if let Some(function) = self.function(function) {
            declared_types(&function["parameters"]["properties"][name], &mut types, 0);
        }
        let text_value = || Value::String(text.to_owned());
        let declared = |kind: &str| types.contains(&kind);
        // Python's literals: templates render the model's earlier arguments with them.
        let value = match text.trim() {
            "True" => Some(Value::Bool(true)),
            "False" => Some(Value::Bool(false)),
            "None" => Some(Value::Null),
            json => serde_json::from_str(json).ok(),
        };
        let Some(value) = value else { return text_value() };
        let fits = match &value {
            Value::Null => declared("null"),
            _ if declared("string") => false,
            Value::Bool(_) => declared("boolean"),
            Value::Number(_) => declared("number") || declared("integer"),
            Value::String(_) => false,
            Value::Array(_) => declared("array") || types.is_empty(),
            Value::Object(_) => declared("object") || types.is_empty(),
        };
        if fits { value } else { text_value() }
    }
}

/// Collects the types that a schema allows, including its alternatives.
fn declared_types<'a>(schema: &'a Value, types: &mut Vec<&'a str>, depth: usize) {
    /// Maximum nesting of alternatives.
    const MAX_DEPTH: usize = 8;
    match &schema["type"] {
        Value::String(kind) => types.push(kind),
        Value::Array(kinds) => types.extend(kinds.iter().filter_map(Value::as_str)),
        _ => {}
    }
    let allowed = schema["enum"].as_array().into_iter().flatten().chain(schema.get("const"));
    types.extend(allowed.map(|value| match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }));
    if depth < MAX_DEPTH {
        let lists = ["anyOf", "oneOf", "allOf"].map(|key| schema[key].as_array());
        for schema in lists.into_iter().flatten().flatten() {
            declared_types(schema, types, depth + 1);
        }
    }
}

/// Arguments of the tool calls in `messages`, with the indices of the message and of the call.
pub(super) fn call_arguments(
    messages: &mut Value,
) -> impl Iterator<Item = (usize, usize, &mut Value)> {
    let messages = messages.as_array_mut().into_iter().flatten().enumerate();
    messages.flat_map(|(index, message)| {
        let calls = message.get_mut("tool_calls").and_then(Value::as_array_mut);
        calls.into_iter().flatten().enumerate().filter_map(move |(call_index, call)| {
            let arguments = call.get_mut("function")?.get_mut("arguments")?;
            Some((index, call_index, arguments))
        })
    })
}

/// Replaces the arguments of tool calls in `messages`, which OpenAI's API sends as JSON text, by
/// objects, which templates expect. Errors: `invalid-request`, naming the argument, if it is
/// neither an object nor the JSON text of one.
pub fn parse_call_arguments(messages: &mut Value) -> Result<()> {
    for (index, call_index, arguments) in call_arguments(messages) {
        let object = match &*arguments {
            Value::Object(_) => continue,
            Value::String(text) if text.trim().is_empty() => Some(Map::new()),
            Value::String(text) => serde_json::from_str(text).ok(),
            _ => None,
        };
        let Some(object) = object else {
            let field = format!("messages[{index}].tool_calls[{call_index}].function.arguments");
            return Err(Error::invalid_value(&field, excerpt(&*arguments), "a JSON object"));
        };
        *arguments = Value::Object(object);
    }
    Ok(())
}
