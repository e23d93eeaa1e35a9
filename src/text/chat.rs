//! Chat templates: messages to the prompt a model was trained on, as Hugging Face renders them.
//!
//! Templates come with checkpoints and are hostile. `template_compile` bounds what nests before it
//! compiles, `template_guard` the steps, memory and depth of a rendering, and the engine's own fuel
//! its instructions.
//!
//! What the environment offers beyond Jinja is what Hugging Face offers: block trimming, loop
//! controls, Python's string and mapping methods, `raise_exception`, `strftime_now`, a `tojson`
//! that writes as Python does, and the `generation` block, which marks text for training only.

use std::borrow::Cow;
use std::collections::BTreeMap;

use minijinja::machinery::{Instructions, eval, make_string_output};
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, ErrorKind, Value as Variable};
use serde_json::{Map, Value};

use super::chat_functions::RaisedException;
use super::template_builtins::{add_builtins, add_function, timed};
use super::template_compile::{Failure, compile};
use super::template_operators::add_operators;
use crate::error::{Code, Error, Result};

pub use super::chat_functions::CivilTime;

/// Most bytes of a template's source.
const MAX_SOURCE_BYTES: usize = 1 << 20;
/// Most bytes of a prompt: past every context.
const MAX_PROMPT_BYTES: usize = 1 << 24;
/// Instructions every rendering may take, those it may take more for each value in the messages
/// and tools, and most of all. Real templates need about a hundred per message.
const BASE_FUEL: u64 = 200_000;
const FUEL_PER_VALUE: u64 = 600;
const MAX_FUEL: u64 = 8_000_000;
/// Most bytes of a message about a template, which may quote it.
const MAX_DETAIL_BYTES: usize = 2000;
/// How deep macros may call each other; the browser's stack holds little more.
const MAX_RECURSION: usize = 100;

/// A checkpoint's chat template, which compiles.
pub struct ChatTemplate {
    file: String,
    source: String,
    environment: Environment<'static>,
    bos_token: String,
    eos_token: String,
}

/// What a rendering depends on besides the messages.
#[derive(Debug, Clone, Default)]
pub struct RenderOptions<'a> {
    /// Tools in OpenAI's shape, a list.
    pub tools: Option<&'a Value>,
    /// End with the start of the assistant's turn.
    pub add_generation_prompt: bool,
    /// Further variables, as `enable_thinking`.
    pub extra: Option<&'a Map<String, Value>>,
    /// The time for templates that write the date; without it they take their own default.
    pub now: Option<CivilTime>,
}

impl ChatTemplate {
    /// Reads `source`; `file` is the name for messages, `bos_token` and `eos_token` the
    /// tokens as they are written. A template that does not parse is `malformed`, naming the line.
    pub fn new(file: &str, source: &str, bos_token: &str, eos_token: &str) -> Result<Self> {
        if source.len() > MAX_SOURCE_BYTES {
            let message = format!("{} bytes, expected at most {MAX_SOURCE_BYTES}", source.len());
            return Err(Error::malformed(file, "chat_template", message));
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

    /// The instructions of the template. They borrow from it, so that each rendering compiles
    /// anew, in less than a millisecond.
    fn compile(&self) -> Result<Instructions<'_>> {
        compile(&self.source, self.environment.syntax()).map_err(|failure| match failure {
            Failure::Syntax(error) => template_error(&self.file, &error),
            Failure::Refused(refusal) => {
                let message = format!("line {}: {}", refusal.line, refusal.message);
                Error::malformed(&self.file, "chat_template", message)
            }
        })
    }

    /// The prompt for `messages`, a list of objects with `role` and `content`.
    ///
    /// `invalid-request` when messages or tools have another shape, or when the template refuses
    /// them; `malformed` when the template fails, takes too long or writes too much.
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
            add_function(&mut environment, "strftime_now", timed, move |format: &str| {
                now.format(format)
            });
        }
        let (instructions, blocks) = (self.compile()?, BTreeMap::new());
        let mut text = String::new();
        let mut output = make_string_output(&mut text);
        let variables = self.variables(messages, options);
        eval(&environment, &instructions, variables, &blocks, &mut output, AutoEscape::None)
            .map_err(|error| template_error(&self.file, &error))?;
        drop(output);
        if text.len() > MAX_PROMPT_BYTES {
            let message =
                format!("writes {} bytes, expected at most {MAX_PROMPT_BYTES}", text.len());
            return Err(Error::malformed(&self.file, "chat_template", message));
        }
        Ok(text)
    }

    fn variables(&self, messages: &Value, options: &RenderOptions<'_>) -> Variable {
        // Hugging Face passes what is not given as none, so that `is not none` works.
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

    /// The error for a chat with a model that has no template: `invalid-request`.
    pub fn missing(file: &str) -> Error {
        let message = format!("{file} has no chat template, expected a raw prompt instead");
        Error::invalid_request("messages", message)
    }
}

/// Messages whose content is a list of text parts, as OpenAI allows, with one text instead: most
/// templates know no other. Content with other parts is left as it is.
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

/// A JSON value as templates see it.
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

/// Refuses what is not a list of objects.
fn check_list(field: &str, value: &Value) -> Result<()> {
    let Some(list) = value.as_array() else {
        return Err(Error::invalid_request(field, format!("{}, expected a list", kind_of(value))));
    };
    match list.iter().position(|item| !item.is_object()) {
        Some(index) => {
            let found = list.get(index).map_or("nothing", kind_of);
            Err(Error::invalid_request(
                field,
                format!("item {index} is {found}, expected an object"),
            ))
        }
        None => Ok(()),
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// How many values there are, nested ones included.
fn count_values(value: &Value) -> u64 {
    1 + match value {
        Value::Array(list) => list.iter().map(count_values).sum(),
        Value::Object(map) => map.values().map(count_values).sum(),
        _ => 0,
    }
}

/// `invalid-request` for what the template refuses by `raise_exception`, `malformed` otherwise.
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
        ErrorKind::OutOfFuel => "takes too many steps, expected an end".to_owned(),
        _ => shortened(details.join(": ")),
    };
    Error::malformed(file, "chat_template", format!("{line}{what}"))
}

/// A text that may quote the template, without its middle where it is too long to read.
fn shortened(text: String) -> String {
    if text.len() <= MAX_DETAIL_BYTES {
        return text;
    }
    let (head, tail) = (MAX_DETAIL_BYTES * 3 / 4, text.len() - MAX_DETAIL_BYTES / 4);
    let is_cut = |at: &usize| text.is_char_boundary(*at);
    let head = (0..=head).rev().find(is_cut).unwrap_or(0);
    let tail = (tail..text.len()).find(is_cut).unwrap_or(text.len());
    let part = |range| text.get(range).unwrap_or_default();
    format!("{} … {}", part(0..head), part(tail..text.len()))
}

/// The source with every end of a line as Jinja sees it, in texts too.
fn with_line_feeds(source: &str) -> Cow<'_, str> {
    match source.contains('\r') {
        true => Cow::Owned(source.replace("\r\n", "\n").replace('\r', "\n")),
        false => Cow::Borrowed(source),
    }
}

/// `{% generation %}` marks the assistant's text for training; here it is a block like any other,
/// with variables of its own.
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
