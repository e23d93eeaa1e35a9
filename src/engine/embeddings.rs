//! Embeddings: a vector for each text, from an encoder's rows, or from the last row of a model that
//! generates text.

use std::collections::VecDeque;

use serde::Serialize;

use super::{Engine, no_plan};
use crate::error::{Error, Result, quoted};
use crate::kernels::{Activation, Step};
use crate::models::Pooling;
use crate::weights::{Checkpoint, Container};

/// A text to embed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EmbeddingInput {
    /// Text; its prompt, and the tokens that the model expects around it, are added.
    Text(String),
    /// Token ids, taken as they are.
    Tokens(Vec<u32>),
}

/// Request for embeddings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddingRequest {
    /// Texts.
    pub inputs: Vec<EmbeddingInput>,
    /// Leading dimensions to keep; `None` for all.
    pub dimensions: Option<usize>,
    /// Name of the prompt to put before each text; `None` for the model's default, if any.
    pub prompt_name: Option<String>,
}

/// Token counts of a request for embeddings, as OpenAI reports them.
#[derive(Debug, Clone, Copy, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct EmbeddingUsage {
    /// Tokens of all texts.
    pub prompt_tokens: usize,
    /// Tokens of the request, equal to `prompt_tokens`.
    pub total_tokens: usize,
}

/// Texts of a request that are yet to be embedded.
pub(super) struct EmbeddingRun {
    texts: VecDeque<Vec<u32>>,
    dimensions: Option<usize>,
}

/// Prompts that a model's files name.
pub(super) struct Prompts {
    named: Vec<(String, String)>,
    default: Option<String>,
}

impl Prompts {
    /// Reads the prompts of a folder that sentence-transformers saved.
    pub(super) fn new(checkpoint: &Checkpoint) -> Self {
        let Container::Safetensors(folder) = &checkpoint.container else {
            return Self { named: Vec::new(), default: None };
        };
        let config = &folder.sentence.prompts;
        let named = config.get("prompts").and_then(|prompts| prompts.as_object());
        let text = |(name, prompt): (&String, &serde_json::Value)| {
            Some((name.clone(), prompt.as_str()?.to_owned()))
        };
        let named: Vec<_> = named.into_iter().flatten().filter_map(text).collect();
        let default = config.get("default_prompt_name").and_then(|name| name.as_str());
        let default = default.filter(|default| named.iter().any(|(name, _)| name == default));
        Self { default: default.map(str::to_owned), named }
    }

    fn find(&self, name: Option<&str>) -> Result<&str> {
        let Some(wanted) = name.or(self.default.as_deref()) else { return Ok("") };
        match self.named.iter().find(|(known, _)| known == wanted) {
            Some((_, prompt)) => Ok(prompt),
            None => {
                let known: Vec<&str> = self.named.iter().map(|(known, _)| &**known).collect();
                let expected = match known[..] {
                    [] => "none: the model's files name no prompts".to_owned(),
                    _ => format!("one of {}", known.join(", ")),
                };
                Err(Error::invalid_value("prompt_name", quoted(wanted), expected))
            }
        }
    }
}

impl Engine {
    /// Embeds the texts of a request, one after another.
    ///
    /// # Errors
    /// Errors of [`Engine::begin_embeddings`] and [`Engine::next_embedding`].
    pub async fn embed(
        &mut self,
        request: &EmbeddingRequest,
    ) -> Result<(Vec<Vec<f32>>, EmbeddingUsage)> {
        let usage = self.begin_embeddings(request)?;
        let mut embeddings = Vec::new();
        while let Some(embedding) = self.next_embedding().await? {
            embeddings.push(embedding);
        }
        Ok((embeddings, usage))
    }

    /// Begins a request, which [`Engine::next_embedding`] then drives; a running one is dropped.
    ///
    /// # Errors
    /// `invalid-request` and `context-full` for the request; `unsupported-format` for a model whose
    /// pooling is not supported.
    pub fn begin_embeddings(&mut self, request: &EmbeddingRequest) -> Result<EmbeddingUsage> {
        (self.running, self.embedding_run) = (None, None);
        self.sequence.drop_samples(&mut self.executor);
        let width = self.embedding_state()?.width as usize;
        if let Some(found) = request.dimensions.filter(|count| !(1..=width).contains(count)) {
            let expected = format!("1 to {width} for this model");
            return Err(Error::invalid_value("dimensions", found, expected));
        }
        let prompt = self.prompts.find(request.prompt_name.as_deref())?;
        let mut texts = VecDeque::new();
        for (index, input) in request.inputs.iter().enumerate() {
            let ids = self.embedding_ids(prompt, input);
            let ids = ids.and_then(|ids| self.check_tokens(&ids).map(|()| ids));
            let place = |error: Error| {
                Error::new(error.code(), format!("input[{index}]: {}", error.message()))
            };
            texts.push_back(ids.map_err(place)?);
        }
        let prompt_tokens = texts.iter().map(Vec::len).sum();
        self.embedding_run = Some(EmbeddingRun { texts, dimensions: request.dimensions });
        Ok(EmbeddingUsage { prompt_tokens, total_tokens: prompt_tokens })
    }

    /// Embeds the next text of the request; `None` after the last.
    ///
    /// # Errors
    /// Errors of the device, and `malformed` for an embedding that is not finite. The request ends
    /// then, and the engine is still usable.
    pub async fn next_embedding(&mut self) -> Result<Option<Vec<f32>>> {
        let Some(mut run) = self.embedding_run.take() else {
            let found = "found no running request, expected one";
            return Err(Error::invalid_request("next_embedding", found));
        };
        let Some(ids) = run.texts.pop_front() else { return Ok(None) };
        let row = self.hidden_row(&ids).await;
        if row.is_err() {
            self.reset();
        }
        let mut row = row?;
        let dimensions = run.dimensions;
        self.embedding_run = Some(run);
        row.truncate(dimensions.unwrap_or(row.len()));
        let squares: f64 = row.iter().map(|x| f64::from(*x).powi(2)).sum();
        if !squares.is_finite() {
            let found = "an embedding with NaN or infinity";
            return Err(Error::malformed_value(&self.name, "embedding", found, "finite numbers"));
        }
        if self.embedding_head.as_ref().is_ok_and(|head| head.is_normalized) && squares > 0.0 {
            let scale = squares.sqrt().recip();
            row.iter_mut().for_each(|x| *x = (f64::from(*x) * scale) as f32);
        }
        Ok(Some(row))
    }

    fn embedding_ids(&self, prompt: &str, input: &EmbeddingInput) -> Result<Vec<u32>> {
        match input {
            EmbeddingInput::Tokens(ids) => Ok(ids.clone()),
            EmbeddingInput::Text(text) if text.is_empty() => {
                Err(Error::invalid_value("text", "none", "at least one character"))
            }
            EmbeddingInput::Text(text) => {
                let mut ids = self.text.raw_ids(&format!("{prompt}{text}"))?;
                ids.extend(self.text.tokenizer.suffix());
                Ok(ids)
            }
        }
    }

    /// The activation that embeddings are made from.
    fn embedding_state(&self) -> Result<Activation> {
        let head = self.embedding_head.as_ref().map_err(Clone::clone)?;
        let plan = &self.plans.for_step(1).ok_or_else(|| no_plan(1))?.plan;
        if self.is_encoder {
            return Ok(plan.logits);
        }
        if head.pooling != Pooling::Last || !head.is_plain() {
            let expected = "the last token alone for a model that generates text";
            let found = "another pooling or a dense layer";
            return Err(Error::unsupported_value(&self.name, "embedding", found, expected));
        }
        let state = plan.hidden_state();
        state.map(|(_, state, _)| state).ok_or_else(|| no_plan(1))
    }

    /// The row of a text before normalization.
    async fn hidden_row(&mut self, ids: &[u32]) -> Result<Vec<f32>> {
        if self.is_encoder {
            let step = Step { position: 0, rows: ids.len() as u32 };
            let plan = self.plans.for_step(step.rows).ok_or_else(|| no_plan(step.rows))?;
            return self.executor.run(plan, step, ids, true).await;
        }
        let reused = self.sequence.reuse_prefix(ids, &mut self.executor);
        let rows = self.chunk_rows() as usize;
        let mut rest = &ids[reused..];
        while let Some((chunk, after)) = rest.split_at_checked(rows).filter(|it| !it.1.is_empty()) {
            self.forward(chunk, false).await?;
            rest = after;
        }
        let step = Step { position: self.sequence.len() as u32, rows: rest.len() as u32 };
        let entry = self.plans.for_step(step.rows).ok_or_else(|| no_plan(step.rows))?;
        let state = entry.plan.hidden_state();
        let (kernels, state, prologue) = state.ok_or_else(|| no_plan(step.rows))?;
        self.sequence.begin_step();
        // Whole rows, with the partial sums of a norm.
        let whole = Activation { width: state.stride, ..state };
        let words = self.executor.run_kernels(entry, kernels, step, rest, Some(whole)).await?;
        self.sequence.end_step(rest);
        let last = words.len().saturating_sub(state.stride as usize);
        Ok(prologue.transformed(&state, &words[last..]))
    }

    /// Refuses to generate text with an encoder.
    pub(super) fn check_generates(&self) -> Result<()> {
        match self.is_encoder {
            true => {
                let found = format!("{}, which only makes embeddings", self.architecture);
                Err(Error::invalid_value("model", found, "a model that generates text"))
            }
            false => Ok(()),
        }
    }
}

impl Engine {
    /// Runs a step of an encoder on the GPU, so that the driver does the work of a first use during
    /// the load.
    pub(super) async fn warm_up_encoder(&mut self) -> Result<()> {
        let rows = self.chunk_rows().min(2) as usize;
        // Numbers that are not finite are reported by requests.
        self.hidden_row(&vec![0; rows]).await.map(|_| ())
    }
}
