//! A checkpoint's text side: its tokenizer, chat template and the tokens that end an answer.

use std::rc::Rc;

use serde_json::{Map, Value};
use web_time::{SystemTime, UNIX_EPOCH};

use crate::error::Result;
use crate::text::chat::{ChatTemplate, CivilTime, RenderOptions, flatten_text_parts};
use crate::text::tokenizer::Tokenizer;
use crate::weights::source::ByteSource;
use crate::weights::{Checkpoint, Container};

/// What turns text into a model's tokens and back.
pub struct ModelText {
    /// Text to ids.
    pub tokenizer: Tokenizer,
    /// A template that cannot be used is an error only for a chat.
    template: Option<Result<ChatTemplate>>,
    stop_ids: Vec<u32>,
    file: String,
}

impl ModelText {
    /// Reads it from a checkpoint's metadata or side files.
    pub fn of(checkpoint: &Checkpoint) -> Result<Self> {
        let file = checkpoint.name.clone();
        let (tokenizer, template) = match &checkpoint.container {
            Container::Gguf(metadata) => {
                let template = metadata.str("tokenizer.chat_template")?.map(str::to_owned);
                (Tokenizer::from_metadata(metadata)?, template)
            }
            Container::Safetensors(folder) => {
                let config = folder.tokenizer_config.as_ref();
                let tokenizer = Tokenizer::from_json("tokenizer.json", &folder.tokenizer_json, config)?;
                (tokenizer, folder.chat_template.clone())
            }
        };
        let compile = |source: String| {
            ChatTemplate::new(&file, &source, &tokenizer.bos_token(), &tokenizer.eos_token())
        };
        let template = template.map(compile);
        let mut stop_ids = tokenizer.eos_ids().to_vec();
        stop_ids.extend(configured_stop_ids(checkpoint));
        Ok(Self { tokenizer, template, stop_ids, file })
    }

    /// Opens a model for its text alone.
    pub async fn open(files: Vec<Rc<dyn ByteSource>>) -> Result<Self> {
        Self::of(&Checkpoint::open(files).await?)
    }

    /// Whether the token ends an answer.
    pub fn is_stop(&self, id: u32) -> bool {
        self.stop_ids.contains(&id)
    }

    /// The ids of a chat, up to where the assistant's answer begins.
    pub fn chat_ids(
        &self,
        messages: &Value,
        tools: Option<&Value>,
        variables: &Map<String, Value>,
    ) -> Result<Vec<u32>> {
        let template = self.template.as_ref().ok_or_else(|| ChatTemplate::missing(&self.file))?;
        let template = template.as_ref().map_err(Clone::clone)?;
        let mut messages = messages.clone();
        flatten_text_parts(&mut messages);
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let options = RenderOptions {
            tools,
            add_generation_prompt: true,
            extra: Some(variables),
            now: Some(CivilTime::from_unix(seconds as i64)),
        };
        self.tokenizer.encode(&template.render(&messages, &options)?)
    }

    /// The ids of a text as it is, with what the model wants before every text.
    pub fn raw_ids(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = self.tokenizer.prefix().to_vec();
        ids.extend(self.tokenizer.encode(text)?);
        Ok(ids)
    }
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
