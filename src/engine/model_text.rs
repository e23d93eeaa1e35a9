//! A checkpoint's text side: its tokenizer, chat template and the tokens that end an answer.

use std::rc::Rc;

use serde::Serialize;
use serde_json::{Map, Value, json};
use web_time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};
use crate::text::answer::{AnswerParser, AnswerStyle, ThinkingSwitch};
use crate::text::chat::{ChatTemplate, CivilTime, RenderOptions, flatten_text_parts};
use crate::text::tokenizer::Tokenizer;
use crate::text::tools::{Tools, read_call_arguments};
use crate::weights::source::ByteSource;
use crate::weights::{Checkpoint, Container};

/// Whether a model reasons before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Thinking {
    /// It does not.
    Never,
    /// As the request says.
    Optional,
    /// It cannot be told not to.
    Always,
}

/// A chat, ready to be answered.
pub(super) struct Chat {
    /// The prompt's ids, up to where the assistant's answer begins.
    pub(super) ids: Vec<u32>,
    /// What takes the answer apart.
    pub(super) parser: AnswerParser,
    /// Control tokens that the parser must see.
    pub(super) marks: Vec<u32>,
}

/// What turns text into a model's tokens and back.
pub struct ModelText {
    /// Text to ids.
    pub tokenizer: Tokenizer,
    /// A template that cannot be used is an error only for a chat.
    template: Option<Result<ChatTemplate>>,
    style: AnswerStyle,
    takes_tools: bool,
    stop_ids: Vec<u32>,
    file: String,
}

impl ModelText {
    /// Reads it from a checkpoint's metadata or side files, but for the template if one is given.
    pub fn of(checkpoint: &Checkpoint, chat_template: Option<&str>) -> Result<Self> {
        let file = checkpoint.name.clone();
        let (tokenizer, template, name) = match &checkpoint.container {
            Container::Gguf(metadata) => {
                let template = metadata.str("tokenizer.chat_template")?.map(str::to_owned);
                (Tokenizer::from_metadata(metadata)?, template, metadata.str("general.name")?)
            }
            Container::Safetensors(folder) => {
                let config = folder.tokenizer_config.as_ref();
                let tokenizer = Tokenizer::from_json("tokenizer.json", &folder.tokenizer_json, config)?;
                (tokenizer, folder.chat_template.clone(), None)
            }
        };
        let template = chat_template.map(str::to_owned).or(template);
        let source = template.as_deref().unwrap_or("");
        let style = AnswerStyle::of(source, name.unwrap_or(&file), tokenizer.id_of("<think>").is_some());
        let takes_tools = source.contains("tools");
        let compile = |source: String| {
            ChatTemplate::new(&file, &source, &tokenizer.bos_token(), &tokenizer.eos_token())
        };
        let template = template.map(compile);
        let mut stop_ids = tokenizer.eos_ids().to_vec();
        stop_ids.extend(configured_stop_ids(checkpoint));
        stop_ids.sort_unstable();
        stop_ids.dedup();
        Ok(Self { tokenizer, template, style, takes_tools, stop_ids, file })
    }

    /// Opens a model for its text alone.
    pub async fn open(files: Vec<Rc<dyn ByteSource>>) -> Result<Self> {
        Self::of(&Checkpoint::open(files).await?, None)
    }

    /// What the files leave open or contradict, and what was taken instead.
    pub fn warnings(&self) -> &[String] {
        self.tokenizer.warnings()
    }

    /// The tokens that end an answer.
    pub(super) fn stop_ids(&self) -> &[u32] {
        &self.stop_ids
    }

    /// Whether the token ends an answer.
    pub fn is_stop(&self, id: u32) -> bool {
        self.stop_ids.contains(&id)
    }

    /// Whether the model reasons before it answers.
    pub fn thinking(&self) -> Thinking {
        match (self.style.reasons, self.style.switch) {
            (_, Some(_)) => Thinking::Optional,
            (true, None) => Thinking::Always,
            (false, None) => Thinking::Never,
        }
    }

    /// Whether it can be given tools and its calls are understood.
    pub fn calls_tools(&self) -> bool {
        self.takes_tools && self.style.calls.is_some()
    }

    /// Renders a chat. No token is put before it: a template writes its own begin token, and
    /// models whose template has none were trained without, whatever `add_bos_token` says.
    pub(super) fn chat(
        &self,
        messages: &Value,
        tools: Option<&Value>,
        thinking: Option<bool>,
        variables: &Map<String, Value>,
    ) -> Result<Chat> {
        let template = self.template.as_ref().ok_or_else(|| ChatTemplate::missing(&self.file))?;
        let template = template.as_ref().map_err(Clone::clone)?;
        let tools = tools.cloned().map(Tools::new).transpose()?.filter(|tools| !tools.is_empty());
        if tools.is_some() && !self.takes_tools {
            let message = format!("the chat template of {} has no place for them", self.file);
            return Err(Error::invalid_request("tools", message));
        }
        let (mut messages, mut variables) = (messages.clone(), variables.clone());
        flatten_text_parts(&mut messages);
        read_call_arguments(&mut messages)?;
        if let Some(on) = thinking {
            self.switch_thinking(on, &mut messages, &mut variables)?;
        }
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let options = RenderOptions {
            tools: tools.as_ref().map(Tools::list),
            add_generation_prompt: true,
            extra: Some(&variables),
            now: Some(CivilTime::from_unix(seconds as i64)),
        };
        let prompt = template.render(&messages, &options)?;
        let ids = self.tokenizer.encode(&prompt)?;
        let marks = self.style.marks(tools.is_some()).into_iter();
        let marks = marks.filter_map(|mark| self.tokenizer.id_of(mark)).collect();
        let parser = AnswerParser::new(self.style, &prompt, tools, ids.len() as u64);
        Ok(Chat { ids, parser, marks })
    }

    fn switch_thinking(
        &self,
        on: bool,
        messages: &mut Value,
        variables: &mut Map<String, Value>,
    ) -> Result<()> {
        match self.style.switch {
            Some(ThinkingSwitch::Variable) => {
                variables.insert("enable_thinking".to_owned(), Value::Bool(on));
            }
            Some(ThinkingSwitch::System(for_on, for_off)) => {
                add_to_system_message(messages, if on { for_on } else { for_off });
            }
            None if on == self.style.reasons => {}
            None => {
                let found = if on { "does not reason before it answers" } else { "always reasons" };
                return Err(Error::invalid_request("thinking", format!("{} {found}", self.file)));
            }
        }
        Ok(())
    }

    /// The ids of a text as it is, with what the model wants before every text.
    pub fn raw_ids(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = self.tokenizer.prefix().to_vec();
        ids.extend(self.tokenizer.encode(text)?);
        Ok(ids)
    }
}

/// Puts a line before the system message, or makes one of it.
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

/// `eos_token_id` of `generation_config.json` and `config.json`: a number or a list.
fn configured_stop_ids(checkpoint: &Checkpoint) -> Vec<u32> {
    let Container::Safetensors(folder) = &checkpoint.container else { return Vec::new() };
    let configs = folder.generation_config.iter().chain([&folder.config]);
    let ids = configs.filter_map(|config| config.get("eos_token_id")).flat_map(|ids| match ids {
        Value::Array(ids) => ids.clone(),
        id => vec![id.clone()],
    });
    ids.filter_map(|id| id.as_u64()).filter_map(|id| u32::try_from(id).ok()).collect()
}
