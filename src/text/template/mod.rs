//! Chat templates: messages to the prompt format a model was trained on, rendered as by Hugging
//! Face `transformers`.
//!
//! Templates come with checkpoints and are untrusted. `nesting` bounds their nesting before they
//! are compiled, `budget` the steps, memory and recursion of a rendering, and minijinja's fuel its
//! instructions. `compile` inserts the accounting of `operators` into the compiled instructions;
//! `builtins` registers filters, tests, functions and methods with their `costs`.
//!
//! Beyond Jinja, the environment has Hugging Face's extensions: block trimming, loop controls,
//! Python's string and mapping methods, `raise_exception`, `strftime_now`, a `tojson` with
//! Python's formatting, and the `generation` block, which only marks text for training.

mod arguments;
mod budget;
mod builtins;
mod civil_time;
mod compile;
mod costs;
mod filters;
mod inputs;
mod json;
mod messages;
mod methods;
mod nesting;
mod numbers;
mod operators;
mod python_operators;
mod render_error;

use std::borrow::Cow;
use std::collections::BTreeMap;

use minijinja::machinery::{Instructions, eval, make_string_output};
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, ErrorKind, Value as Variable};
use serde_json::{Map, Value};

use self::builtins::{add_builtins, metered};
use self::compile::{CompileError, compile};
use self::operators::add_operators;
use self::render_error::RaisedException;
use crate::error::{Code, Error, Result};

pub use self::civil_time::CivilTime;
pub use self::inputs::{keeps_null_content, tools_variable};
pub use self::messages::{flatten_text_parts, message_forms};

/// Maximum bytes of a template's source.
const MAX_SOURCE_BYTES: usize = 1 << 20;
/// Maximum bytes of a prompt: longer than any context.
const MAX_PROMPT_BYTES: usize = 1 << 24;
/// Fuel: instructions allowed for any rendering, further instructions per value in messages and
/// tools, and their maximum. Real templates need about a hundred per message.
const BASE_FUEL: u64 = 200_000;
const FUEL_PER_VALUE: u64 = 600;
const MAX_FUEL: u64 = 8_000_000;
/// Maximum bytes of an error message about a template, which may quote it.
const MAX_DETAIL_BYTES: usize = 2000;
/// Maximum recursion of macros, limited by the browser's stack.
const MAX_RECURSION: usize = 100;

/// A compiled chat template.
pub struct ChatTemplate {
    file: String,
    source: String,
    environment: Environment<'static>,
    bos_token: String,
    eos_token: String,
}

/// Inputs of a rendering besides the messages.
#[derive(Debug, Clone, Default)]
pub struct RenderOptions<'a> {
    /// Tools in OpenAI's format, a list.
    pub tools: Option<&'a Value>,
    /// End the prompt with the start of the assistant's turn.
    pub add_generation_prompt: bool,
    /// Additional template variables, such as `enable_thinking`.
    pub extra: Option<&'a Map<String, Value>>,
    /// Current time, for templates that write the date; without it they use their own default.
    pub now: Option<CivilTime>,
}

impl ChatTemplate {
    /// Compiles `source`. `file` is the name for messages, `bos_token` and `eos_token` are the
    /// texts of these tokens. Errors: `malformed`, naming the line, for a template that does not
    /// compile or exceeds the limits.
    pub fn new(file: &str, source: &str, bos_token: &str, eos_token: &str) -> Result<Self> {
        if source.len() > MAX_SOURCE_BYTES {
            let found = format!("{} bytes", source.len());
            let expected = format!("at most {MAX_SOURCE_BYTES}");
            return Err(Error::malformed_value(file, "chat_template", found, expected));
        }
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()
            .map_err(|error| Error::internal(format!("template syntax: {error}")))?;
        let mut environment = Environment::empty();
        environment.set_syntax(syntax);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_recursion_limit(MAX_RECURSION);
        add_operators(&mut environment);
        add_builtins(&mut environment);
        let (file, source) = (file.to_owned(), without_generation_blocks(&with_line_feeds(source)));
        let (bos_token, eos_token) = (bos_token.to_owned(), eos_token.to_owned());
        let template = Self { file, source, environment, bos_token, eos_token };
        template.compile()?;
        Ok(template)
    }

    /// Compiled instructions. They borrow from the template, so that each rendering compiles it
    /// again, which takes less than a millisecond.
    fn compile(&self) -> Result<Instructions<'_>> {
        compile(&self.source, self.environment.syntax()).map_err(|failure| match failure {
            CompileError::Syntax(error) => template_error(&self.file, &error),
            CompileError::Refused(refusal) => {
                let message = format!("line {}: {}", refusal.line, refusal.message);
                Error::malformed(&self.file, "chat_template", message)
            }
        })
    }

    /// Renders the prompt for `messages`, a list of objects with `role` and `content`.
    ///
    /// Errors: `invalid-request` if messages or tools have the wrong shape or the template refuses
    /// them by `raise_exception`; `malformed` if the template fails or exceeds its budget.
    pub fn render(&self, messages: &Value, options: &RenderOptions<'_>) -> Result<String> {
        check_list("messages", messages)?;
        if let Some(tools) = options.tools {
            check_list("tools", tools)?;
        }
        let mut environment = self.environment.clone();
        let extra = options.extra.map_or(0, |extra| extra.values().map(count_values).sum());
        let values = count_values(messages) + options.tools.map_or(0, count_values) + extra;
        let fuel = BASE_FUEL.saturating_add(FUEL_PER_VALUE.saturating_mul(values));
        environment.set_fuel(Some(fuel.min(MAX_FUEL)));
        if let Some(now) = options.now {
            let strftime_now = move |format: &str| now.format(format);
            environment.add_function("strftime_now", metered(costs::strftime, strftime_now));
        }
        let (instructions, blocks) = (self.compile()?, BTreeMap::new());
        let mut text = String::new();
        let mut output = make_string_output(&mut text);
        let variables = self.variables(messages, options);
        eval(&environment, &instructions, variables, &blocks, &mut output, AutoEscape::None)
            .map_err(|error| template_error(&self.file, &error))?;
        drop(output);
        if text.len() > MAX_PROMPT_BYTES {
            let found = format!("a prompt of {} bytes", text.len());
            let expected = format!("at most {MAX_PROMPT_BYTES}");
            return Err(Error::malformed_value(&self.file, "chat_template", found, expected));
        }
        Ok(text)
    }

    fn variables(&self, messages: &Value, options: &RenderOptions<'_>) -> Variable {
        // As in Hugging Face, absent values are none, so that `is not none` works.
        let mut variables = vec![
            ("bos_token", Variable::from(self.bos_token.as_str())),
            ("eos_token", Variable::from(self.eos_token.as_str())),
            ("messages", variable(messages)),
            ("tools", options.tools.map_or(Variable::from(()), variable)),
            ("documents", Variable::from(())),
            ("add_generation_prompt", Variable::from(options.add_generation_prompt)),
        ];
        let extra = options.extra.into_iter().flatten();
        variables.extend(extra.map(|(name, value)| (name.as_str(), variable(value))));
        Variable::from_pairs(variables)
    }

    /// `invalid-request`: a chat with a model that has no template.
    pub fn missing(file: &str) -> Error {
        Error::invalid_value("messages", format!("no chat template in {file}"), "a raw prompt")
    }
}

/// Converts a JSON value to a template value.
fn variable(value: &Value) -> Variable {
    match value {
        Value::Null => Variable::from(()),
        Value::Bool(value) => Variable::from(*value),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), _, _) => Variable::from(number),
            (_, Some(number), _) => Variable::from(number),
            (_, _, number) => Variable::from(number.unwrap_or(f64::NAN)),
        },
        Value::String(text) => Variable::from(text.as_str()),
        Value::Array(list) => list.iter().map(variable).collect(),
        Value::Object(map) => {
            Variable::from_pairs(map.iter().map(|(key, value)| (key.as_str(), variable(value))))
        }
    }
}

/// Refuses anything but a list of objects.
fn check_list(field: &str, value: &Value) -> Result<()> {
    let Some(list) = value.as_array() else {
        return Err(Error::invalid_value(field, kind_of(value), "a list"));
    };
    match list.iter().enumerate().find(|(_, item)| !item.is_object()) {
        Some((index, item)) => {
            let field = format!("{field}[{index}]");
            Err(Error::invalid_value(&field, kind_of(item), "an object"))
        }
        None => Ok(()),
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Number of JSON values, including nested ones.
fn count_values(value: &Value) -> u64 {
    1 + match value {
        Value::Array(list) => list.iter().map(count_values).sum(),
        Value::Object(map) => map.values().map(count_values).sum(),
        _ => 0,
    }
}

/// `invalid-request` for a `raise_exception` of the template, `malformed` for other errors.
fn template_error(file: &str, error: &minijinja::Error) -> Error {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut details = Vec::new();
    while let Some(current) = source {
        if let Some(RaisedException(message)) = current.downcast_ref::<RaisedException>() {
            return Error::new(
                Code::InvalidRequest,
                format!("messages: {}", shortened(message.clone())),
            );
        }
        match current.downcast_ref::<minijinja::Error>() {
            Some(current) => {
                details.push(current.detail().map_or(current.kind().to_string(), str::to_owned))
            }
            None => details.push(current.to_string()),
        }
        source = current.source();
    }
    let line = error.line().map_or(String::new(), |line| format!("line {line}: "));
    let what = match error.kind() {
        ErrorKind::OutOfFuel => "found too many instructions, expected fewer".to_owned(),
        _ => shortened(details.join(": ")),
    };
    Error::malformed(file, "chat_template", format!("{line}{what}"))
}

/// Shortens a text that may quote the template by cutting out its middle.
fn shortened(text: String) -> String {
    if text.len() <= MAX_DETAIL_BYTES {
        return text;
    }
    let (head, tail) = (MAX_DETAIL_BYTES * 3 / 4, text.len() - MAX_DETAIL_BYTES / 4);
    let is_boundary = |at: &usize| text.is_char_boundary(*at);
    let head = (0..=head).rev().find(is_boundary).unwrap_or(0);
    let tail = (tail..text.len()).find(is_boundary).unwrap_or(text.len());
    let part = |range| text.get(range).unwrap_or_default();
    format!("{} … {}", part(0..head), part(tail..text.len()))
}

/// Normalizes line endings to `\n`, as Jinja does, inside strings too.
fn with_line_feeds(source: &str) -> Cow<'_, str> {
    match source.contains('\r') {
        true => Cow::Owned(source.replace("\r\n", "\n").replace('\r', "\n")),
        false => Cow::Borrowed(source),
    }
}

/// Replaces `{% generation %}`, which only marks the assistant's text for training, by a `with`
/// block, which also has a scope of its own.
fn without_generation_blocks(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some((before, tag)) = rest.split_once("{%") {
        out.push_str(before);
        let Some((inside, after)) = tag.split_once("%}") else {
            out.push_str("{%");
            return out + tag;
        };
        let marks: &[char] = &['-', '+'];
        let name = inside.trim_start_matches(marks).trim_end_matches(marks).trim();
        let inside = match name {
            "generation" => inside.replacen("generation", "with", 1),
            "endgeneration" => inside.replacen("endgeneration", "endwith", 1),
            _ => inside.to_owned(),
        };
        out.push_str("{%");
        out.push_str(&inside);
        out.push_str("%}");
        rest = after;
    }
    out + rest
}
