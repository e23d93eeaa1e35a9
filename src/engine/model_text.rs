//! Text of a model: its tokenizer, chat templates and stop tokens, from a checkpoint's metadata or
//! side files.

use std::rc::Rc;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::clock::unix_seconds;
use super::kept_prefixes::kept_prefixes;
use crate::error::{Error, Result};
use crate::text::{
    AnswerParser, AnswerStyle, ChatTemplate, CivilTime, RenderOptions, ThinkingSwitch, Tokenizer,
    Tools, keeps_null_content, message_forms, tools_variable,
};
use crate::weights::source::ByteSource;
use crate::weights::{Checkpoint, Container, Metadata};

/// Condition under which a model reasons before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub enum Thinking {
    /// Never.
    Never,
    /// If the request asks for it.
    Optional,
    /// Always; a request cannot turn it off.
    Always,
}

/// Tokens of a prompt, and the parser of the answer to it.
pub(super) struct ChatPrompt {
    /// Tokens up to where the assistant's answer begins.
    pub(super) ids: Vec<u32>,
    /// Splits the answer to a chat into reasoning, text and tool calls; raw text has no parser.
    pub(super) parser: Option<AnswerParser>,
    /// Control tokens that the parser must see as text.
    pub(super) marks: Vec<u32>,
    /// Lengths of the prompt after which snapshots are to be taken, in ascending order.
    pub(super) snapshots: Vec<usize>,
}

/// A chat template, and the properties of the model that follow from its source.
struct Template {
    /// A template that does not compile is an error only for chats.
    compiled: Result<ChatTemplate>,
    style: AnswerStyle,
    /// Name of the variable that takes tools, if the template supports them.
    tools: Option<&'static str>,
    /// True if it distinguishes `null` content from absent content.
    keeps_null: bool,
}

/// Tokenizer, chat templates and stop tokens of a model.
pub struct ModelText {
    /// Tokenizer.
    pub tokenizer: Tokenizer,
    template: Option<Template>,
    /// Template for chats with tools, if there is one of their own.
    tool_template: Option<Template>,
    /// Answer style of a model without a template.
    style: AnswerStyle,
    /// Special tokens by the names that templates use, such as `bos_token`.
    special_tokens: Map<String, Value>,
    stop_ids: Vec<u32>,
    file: String,
}

impl ModelText {
    /// Reads the tokenizer and chat templates of a checkpoint; a given chat template replaces the
    /// checkpoint's.
    ///
    /// # Errors
    /// `malformed` and `unsupported-format` for the tokenizer.
    pub fn new(checkpoint: &Checkpoint, chat_template: Option<&str>) -> Result<Self> {
        let file = checkpoint.name.clone();
        let (tokenizer, sources, special_tokens, name) = match &checkpoint.container {
            Container::Gguf(metadata) => {
                let tokenizer = Tokenizer::from_metadata(metadata)?;
                let name = metadata.str("general.name")?;
                (tokenizer, gguf_templates(metadata)?, gguf_special_tokens(metadata)?, name)
            }
            Container::Safetensors(folder) => {
                let config = folder.tokenizer_config.as_ref();
                let tokenizer =
                    Tokenizer::from_json("tokenizer.json", &folder.tokenizer_json, config)?;
                let sources = (folder.chat_template.clone(), folder.tool_template.clone());
                (tokenizer, sources, config.map(named_special_tokens).unwrap_or_default(), None)
            }
        };
        let sources = chat_template.map_or(sources, |given| (Some(given.to_owned()), None));
        let name = name.unwrap_or(&file);
        let has_think = tokenizer.id_of("<think>").is_some();
        let read = |source: String| Template {
            style: AnswerStyle::of(&source, name, has_think),
            tools: tools_variable(&source),
            keeps_null: keeps_null_content(&source),
            compiled: ChatTemplate::new(
                &file,
                &source,
                &tokenizer.bos_token(),
                &tokenizer.eos_token(),
            ),
        };
        let (template, tool_template) = (sources.0.map(read), sources.1.map(read));
        let style = AnswerStyle::of("", name, has_think);
        let mut stop_ids = tokenizer.eos_ids().to_vec();
        stop_ids.extend(configured_stop_ids(checkpoint));
        stop_ids.sort_unstable();
        stop_ids.dedup();
        Ok(Self { tokenizer, template, tool_template, style, special_tokens, stop_ids, file })
    }

    /// Opens only the tokenizer and chat templates of a model's files.
    ///
    /// # Errors
    /// Errors of the headers, and of [`ModelText::new`].
    pub async fn open(files: Vec<Rc<dyn ByteSource>>) -> Result<Self> {
        Self::new(&Checkpoint::open(files).await?, None)
    }

    /// Contradictions and gaps in the tokenizer's files, and the assumption made for each.
    pub fn warnings(&self) -> &[String] {
        self.tokenizer.warnings()
    }

    /// The template for a chat with or without tools; if there is only one, it is for both.
    fn template(&self, with_tools: bool) -> Option<&Template> {
        let (first, second) = (&self.template, &self.tool_template);
        let (first, second) = if with_tools { (second, first) } else { (first, second) };
        first.as_ref().or(second.as_ref())
    }

    fn style(&self, with_tools: bool) -> AnswerStyle {
        self.template(with_tools).map_or(self.style, |template| template.style)
    }

    /// Ids of the stop tokens, which end an answer.
    pub(super) fn stop_ids(&self) -> &[u32] {
        &self.stop_ids
    }

    /// True if the token is a stop token.
    pub fn is_stop(&self, id: u32) -> bool {
        self.stop_ids.contains(&id)
    }

    /// Condition under which the model reasons before it answers.
    pub fn thinking(&self) -> Thinking {
        let style = self.style(false);
        match (style.reasons, style.switch) {
            (_, Some(_)) => Thinking::Optional,
            (true, None) => Thinking::Always,
            (false, None) => Thinking::Never,
        }
    }

    /// True if the chat template takes tools and the form of the model's calls is known.
    pub fn calls_tools(&self) -> bool {
        let template = self.template(true);
        template.is_some_and(|template| template.tools.is_some() && template.style.calls.is_some())
    }

    /// Renders and tokenizes a chat, and finds where to take snapshots if that is wanted. No token
    /// is put before it: a template writes its own beginning-of-sequence token, and a model whose
    /// template has none was trained without, whatever `add_bos_token` says.
    ///
    /// # Errors
    /// `invalid-request` for messages, tools or `thinking` that the template does not support;
    /// `unsupported-format` for a template that is missing or does not compile.
    pub(super) fn chat(
        &self,
        messages: &Value,
        tools: Option<&Value>,
        thinking: Option<bool>,
        variables: &Map<String, Value>,
        with_snapshots: bool,
    ) -> Result<ChatPrompt> {
        let tools = tools.cloned().map(Tools::new).transpose()?.filter(|tools| !tools.is_empty());
        let template =
            self.template(tools.is_some()).ok_or_else(|| ChatTemplate::missing(&self.file))?;
        let compiled = template.compiled.as_ref().map_err(Clone::clone)?;
        if tools.is_some() && template.tools.is_none() {
            let message =
                format!("{}: found a chat template without tools, expected one with", self.file);
            return Err(Error::invalid_request("tools", message));
        }
        let (mut messages, mut variables) = (messages.clone(), variables.clone());
        if let Some(on) = thinking {
            self.switch_thinking(template.style, on, &mut messages, &mut variables)?;
        }
        // Variables of the request take precedence over the checkpoint's.
        for (name, token) in &self.special_tokens {
            variables.entry(name).or_insert_with(|| token.clone());
        }
        // `RenderOptions` sets the variable `tools`; some templates name it differently.
        let other_name = template.tools.filter(|name| *name != "tools");
        if let (Some(tools), Some(name)) = (&tools, other_name) {
            variables.insert(name.to_owned(), tools.list().clone());
        }
        let options = RenderOptions {
            tools: tools.as_ref().map(Tools::list),
            add_generation_prompt: true,
            extra: Some(&variables),
            now: Some(CivilTime::from_unix(unix_seconds() as i64)),
        };
        let render = |messages: &Value| {
            render_first(compiled, &message_forms(messages, template.keeps_null)?, &options)
        };
        let prompt = render(&messages)?;
        let ids = self.tokenizer.encode(&prompt)?;
        let snapshots = match with_snapshots {
            true => kept_prefixes(&messages, &prompt, &ids, render, &self.tokenizer),
            false => Vec::new(),
        };
        let marks = template.style.marks(tools.is_some()).into_iter();
        let marks = marks.filter_map(|mark| self.tokenizer.id_of(mark)).collect();
        let parser = AnswerParser::new(template.style, &prompt, tools, ids.len() as u64);
        Ok(ChatPrompt { ids, parser: Some(parser), marks, snapshots })
    }

    fn switch_thinking(
        &self,
        style: AnswerStyle,
        on: bool,
        messages: &mut Value,
        variables: &mut Map<String, Value>,
    ) -> Result<()> {
        match style.switch {
            Some(ThinkingSwitch::Variable) => {
                variables.insert("enable_thinking".to_owned(), Value::Bool(on));
            }
            Some(ThinkingSwitch::System(for_on, for_off)) => {
                add_to_system_message(messages, if on { for_on } else { for_off });
            }
            None if on == style.reasons => {}
            None => {
                let behavior = if on { "never reasons" } else { "always reasons" };
                let expected = format!("{} for {}, which {behavior}", !on, self.file);
                return Err(Error::invalid_value("thinking", on, expected));
            }
        }
        Ok(())
    }

    /// Tokens of raw text, after the tokens that the model expects before every text.
    pub fn raw_ids(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = self.tokenizer.prefix().to_vec();
        ids.extend(self.tokenizer.encode(text)?);
        Ok(ids)
    }
}

/// Renders the first of several equivalent forms of messages that the template accepts; returns the
/// error of the first if it accepts none.
fn render_first(
    template: &ChatTemplate,
    forms: &[Value],
    options: &RenderOptions<'_>,
) -> Result<String> {
    let mut refused = None;
    for messages in forms {
        match template.render(messages, options) {
            Ok(prompt) => return Ok(prompt),
            Err(error) => _ = refused.get_or_insert(error),
        }
    }
    Err(refused.unwrap_or_else(|| Error::internal("messages: found no form, expected one")))
}

/// Chat templates of a GGUF file: without tools, and with.
fn gguf_templates(metadata: &Metadata) -> Result<(Option<String>, Option<String>)> {
    const KEY: &str = "tokenizer.chat_template";
    let named = |name: &str| metadata.str(&format!("{KEY}.{name}"));
    let mut plain = metadata.str(KEY)?.or(named("default")?);
    let tools = named("tool_use")?;
    if plain.is_none() && tools.is_none() && metadata.get("tokenizer.chat_templates").is_some() {
        let names = metadata.strings("tokenizer.chat_templates")?.unwrap_or_default();
        plain = names.first().map(|name| named(name)).transpose()?.flatten();
    }
    Ok((plain.map(str::to_owned), tools.map(str::to_owned)))
}

/// Special tokens of a GGUF file by the names that templates use, except for those that begin and
/// end a text. An id beyond the vocabulary counts as absent.
fn gguf_special_tokens(metadata: &Metadata) -> Result<Map<String, Value>> {
    const NAMES: [(&str, &str); 10] = [
        ("unknown", "unk_token"),
        // GGUF files spell it so.
        ("seperator", "sep_token"),
        ("separator", "sep_token"),
        ("padding", "pad_token"),
        ("cls", "cls_token"),
        ("mask", "mask_token"),
        ("eot", "eot_token"),
        ("eom", "eom_token"),
        ("image", "image_token"),
        ("audio", "audio_token"),
    ];
    let tokens = metadata.strings("tokenizer.ggml.tokens")?.unwrap_or_default();
    let mut found = Map::new();
    for (key, name) in NAMES {
        let Ok(Some(id)) = metadata.u64(&format!("tokenizer.ggml.{key}_token_id")) else {
            continue;
        };
        if let Some(token) = usize::try_from(id).ok().and_then(|id| tokens.get(id)) {
            found.insert(name.to_owned(), Value::from(*token));
        }
    }
    Ok(found)
}

/// Special tokens of `tokenizer_config.json`, each a string or an object with `content`: the fields
/// named `…_token`, and further tokens in an object by name or in a list.
fn named_special_tokens(config: &Value) -> Map<String, Value> {
    let text =
        |token: &Value| token.as_str().or_else(|| token.get("content")?.as_str()).map(Value::from);
    let named = |tokens: &Map<String, Value>, all: bool| {
        let is_named = |name: &String| all || name.ends_with("_token");
        let wanted = tokens.iter().filter(|(name, _)| is_named(name));
        wanted.filter_map(|(name, token)| Some((name.clone(), text(token)?))).collect::<Vec<_>>()
    };
    let mut found: Map<String, Value> = config
        .as_object()
        .map(|config| named(config, false))
        .unwrap_or_default()
        .into_iter()
        .collect();
    for key in
        ["model_specific_special_tokens", "extra_special_tokens", "additional_special_tokens"]
    {
        match config.get(key) {
            Some(Value::Object(tokens)) => found.extend(named(tokens, true)),
            Some(Value::Array(tokens)) => {
                found.insert(key.to_owned(), tokens.iter().filter_map(text).collect());
            }
            _ => {}
        }
    }
    found
}

/// Puts a line before the system message, or adds a system message of that line.
fn add_to_system_message(messages: &mut Value, line: &str) {
    let Some(messages) = messages.as_array_mut() else { return };
    if let Some(first) = messages.first_mut()
        && first["role"] == "system"
        && let Some(content) = first["content"].as_str()
    {
        first["content"] = Value::String(format!("{line}\n\n{content}"));
        return;
    }
    messages.insert(0, json!({"role": "system", "content": line}));
}

/// Stop tokens of `generation_config.json` and `config.json`: `eos_token_id`, a number or a list.
fn configured_stop_ids(checkpoint: &Checkpoint) -> Vec<u32> {
    let Container::Safetensors(folder) = &checkpoint.container else { return Vec::new() };
    let configs = folder.generation_config.iter().chain([&folder.config]);
    let ids = configs.filter_map(|config| config.get("eos_token_id")).flat_map(|ids| match ids {
        Value::Array(ids) => ids.clone(),
        id => vec![id.clone()],
    });
    ids.filter_map(|id| id.as_u64()).filter_map(|id| u32::try_from(id).ok()).collect()
}
