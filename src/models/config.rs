//! Reads a model's configuration from GGUF metadata or Hugging Face's `config.json`.

use std::fmt::Display;

use serde_json::Value;

use crate::error::{Code, Error, Result, cut};
use crate::plan::TensorShapes;
use crate::weights::{Checkpoint, Container, SentenceModule, folder, metadata};

/// Maximum layer count: more than any model has, and within the range of a plan's indices.
const MAX_LAYERS: usize = 1024;
/// Maximum columns of activations, weight matrices and logits: more than any model has, and small
/// enough that arithmetic on checked sizes cannot overflow 32 bits.
const MAX_WIDTH: u64 = 1 << 20;
/// Maximum length of a value that an error message quotes.
const MAX_QUOTED_CHARS: usize = 200;

/// Name of a tensor in GGUF files and in Hugging Face checkpoints; `{}` stands for the layer index.
#[derive(Debug, Clone, Copy)]
pub struct TensorNames {
    /// Name in GGUF, e.g. `blk.{}.attn_q.weight`.
    pub gguf: &'static str,
    /// Name in a Hugging Face checkpoint, e.g. `model.layers.{}.self_attn.q_proj.weight`.
    pub hugging_face: &'static str,
}

impl TensorNames {
    /// The name in GGUF or in a Hugging Face checkpoint, with the layer index filled in.
    pub fn of(self, is_gguf: bool, layer_index: u32) -> String {
        let name = if is_gguf { self.gguf } else { self.hugging_face };
        name.replace("{}", &layer_index.to_string())
    }
}

/// Defines constants of type [`TensorNames`]: the name in GGUF, then in Hugging Face checkpoints.
macro_rules! names {
    ($($name:ident: $gguf:literal, $hugging_face:literal;)+) => {
        $(const $name: $crate::models::config::TensorNames =
            $crate::models::config::TensorNames { gguf: $gguf, hugging_face: $hugging_face };)+
    };
}
pub(super) use names;

/// The configuration of a checkpoint. Methods take a GGUF key without the architecture's prefix and
/// a dotted path in `config.json`; the container decides which one they read.
pub struct ConfigSource<'a> {
    checkpoint: &'a Checkpoint,
    architecture: &'static str,
}

impl<'a> ConfigSource<'a> {
    pub(super) fn new(checkpoint: &'a Checkpoint, architecture: &'static str) -> Self {
        Self { checkpoint, architecture }
    }

    /// True if the checkpoint is a GGUF file, false if it is a safetensors folder.
    pub fn is_gguf(&self) -> bool {
        matches!(self.checkpoint.container, Container::Gguf(_))
    }

    /// Length of a one-dimensional tensor, if the checkpoint has it.
    pub fn vector_length(&self, name: &str) -> Option<usize> {
        self.checkpoint.tensor(name).and_then(|(_, shape)| (shape.len() == 1).then(|| shape[0]))
    }

    /// Shape of a tensor, outermost axis first, if the checkpoint has it.
    pub fn tensor_shape(&self, name: &str) -> Option<&[usize]> {
        self.checkpoint.tensor(name).map(|(_, shape)| shape)
    }

    /// True if the checkpoint has a tensor of that name.
    pub fn has_tensor(&self, name: &str) -> bool {
        self.checkpoint.tensor(name).is_some()
    }

    /// Rows of a matrix, if the checkpoint has it.
    pub fn matrix_rows(&self, name: &str) -> Result<Option<u32>> {
        match self.checkpoint.tensor(name) {
            Some((_, [rows, _])) => self.check_width(name, *rows as u64).map(Some),
            _ => Ok(None),
        }
    }

    /// Modules of sentence-transformers, the transformer included; none in GGUF.
    pub fn sentence_modules(&self) -> &'a [SentenceModule] {
        match &self.checkpoint.container {
            Container::Gguf(_) => &[],
            Container::Safetensors(folder) => &folder.sentence.modules,
        }
    }

    /// Reads the longest sequence. sentence-transformers may state a shorter one.
    pub fn context_length(&self) -> Result<u32> {
        let length = self.required_count("context_length", "max_position_embeddings")?;
        let Container::Safetensors(folder) = &self.checkpoint.container else { return Ok(length) };
        let stated = folder.sentence.max_tokens.filter(|tokens| *tokens > 0);
        Ok(stated.map_or(length, |tokens| length.min(u32::try_from(tokens).unwrap_or(length))))
    }

    /// True if `config.json` has a value other than `null` at that path.
    pub fn has(&self, hugging_face: &str) -> bool {
        match &self.checkpoint.container {
            Container::Gguf(_) => false,
            Container::Safetensors(folder) => pointer(&folder.config, hugging_face).is_some(),
        }
    }

    /// Name of a field in this checkpoint, for error messages.
    pub fn field(&self, gguf: &str, hugging_face: &str) -> String {
        if self.is_gguf() { self.key(gguf) } else { hugging_face.to_owned() }
    }

    /// Reads a count.
    pub fn count(&self, gguf: &str, hugging_face: &str) -> Result<Option<u32>> {
        let (field, found) = match &self.checkpoint.container {
            Container::Gguf(metadata) => {
                let key = self.key(gguf);
                (key.clone(), metadata.u64(&key)?)
            }
            Container::Safetensors(folder) => match pointer(&folder.config, hugging_face) {
                None => return Ok(None),
                Some(value) => {
                    let count = value.as_u64();
                    let count =
                        count.ok_or_else(|| self.malformed(hugging_face, value, "an integer"))?;
                    (hugging_face.to_owned(), Some(count))
                }
            },
        };
        found.map(|count| self.check_count(&field, count)).transpose()
    }

    /// Checks that a count is below 2^30, which leaves room for arithmetic in 32 bits.
    fn check_count(&self, field: &str, count: u64) -> Result<u32> {
        let small = u32::try_from(count).ok().filter(|count| *count < 1 << 30);
        small.ok_or_else(|| self.malformed(field, count, "less than 2^30"))
    }

    /// Reads a positive count; `malformed` if it is absent.
    pub fn required_count(&self, gguf: &str, hugging_face: &str) -> Result<u32> {
        let field = self.field(gguf, hugging_face);
        match self.count(gguf, hugging_face)? {
            None => Err(self.malformed(&field, "nothing", "a count")),
            Some(0) => Err(self.malformed(&field, 0, "at least 1")),
            Some(count) => Ok(count),
        }
    }

    /// Reads a width: columns of a row, 1 to 2^20; `malformed` if it is absent.
    pub fn required_width(&self, gguf: &str, hugging_face: &str) -> Result<u32> {
        let width = self.required_count(gguf, hugging_face)?;
        self.check_width(&self.field(gguf, hugging_face), width.into())
    }

    /// Checks a width that a field states, or that is computed from several fields.
    pub fn check_width(&self, field: &str, width: u64) -> Result<u32> {
        match u32::try_from(width) {
            Ok(small) if (1..=MAX_WIDTH).contains(&width) => Ok(small),
            _ => Err(self.malformed(field, width, &format!("1 to {MAX_WIDTH} columns"))),
        }
    }

    /// Reads the layer count.
    pub fn layer_count(&self) -> Result<u32> {
        let count = self.required_count("block_count", "num_hidden_layers")?;
        let field = self.field("block_count", "num_hidden_layers");
        self.check_layer_count(&field, count as usize)
    }

    /// Checks a layer count that a field states: at most one per tensor, so that a hostile count
    /// allocates nothing.
    pub fn check_layer_count(&self, field: &str, count: usize) -> Result<u32> {
        let tensors = self.checkpoint.tensors.len();
        if count == 0 || count > tensors.min(MAX_LAYERS) {
            let expected = format!("1 to {} with {tensors} tensors", tensors.min(MAX_LAYERS));
            return Err(self.malformed(field, count, &expected));
        }
        Ok(count as u32)
    }

    /// Reads a count per layer, stated as a list or as one number for all layers.
    pub fn layer_counts(
        &self,
        gguf: &str,
        hugging_face: &str,
        layer_count: u32,
    ) -> Result<Vec<u32>> {
        let key = self.key(gguf);
        let expected = format!("one count, or one for each of {layer_count} layers");
        let (field, found) = match &self.checkpoint.container {
            Container::Gguf(metadata) => {
                // Checked before decoding, which takes eight bytes per element.
                if let Some(metadata::Value::Array(list)) = metadata.get(&key)
                    && list.len() > MAX_LAYERS
                {
                    return Err(self.malformed(&key, format!("{} counts", list.len()), &expected));
                }
                (key.as_str(), metadata.u64s_or_scalar(&key)?)
            }
            Container::Safetensors(folder) => {
                let integer = |value: &Value| {
                    value.as_u64().ok_or_else(|| self.malformed(hugging_face, value, "integers"))
                };
                let found = pointer(&folder.config, hugging_face).map(|value| match value {
                    Value::Array(list) => list.iter().map(integer).collect(),
                    value => Ok(vec![integer(value)?]),
                });
                (hugging_face, found.transpose()?)
            }
        };
        let Some(mut counts) = found else {
            return Err(self.malformed(field, "nothing", "counts"));
        };
        if counts.len() == 1 {
            counts = vec![counts[0]; layer_count as usize];
        }
        if counts.len() != layer_count as usize {
            return Err(self.malformed(field, format!("{} counts", counts.len()), &expected));
        }
        counts.into_iter().map(|count| self.check_count(field, count)).collect()
    }

    /// Reads a flag per layer from an array in GGUF.
    pub fn layer_flags(&self, gguf: &str, layer_count: u32) -> Result<Option<Vec<bool>>> {
        let Container::Gguf(metadata) = &self.checkpoint.container else { return Ok(None) };
        let key = self.key(gguf);
        if let Some(metadata::Value::Array(list)) = metadata.get(&key)
            && list.len() != layer_count as usize
        {
            let expected = format!("one flag for each of {layer_count} layers");
            return Err(self.malformed(&key, format!("{} flags", list.len()), &expected));
        }
        metadata.flags(&key)
    }

    /// Reads a list of any values from `config.json`.
    pub fn list(&self, hugging_face: &str) -> Result<Option<&'a [Value]>> {
        match &self.checkpoint.container {
            Container::Gguf(_) => Ok(None),
            Container::Safetensors(folder) => match pointer(&folder.config, hugging_face) {
                None => Ok(None),
                Some(Value::Array(list)) => Ok(Some(list)),
                Some(value) => Err(self.malformed(hugging_face, value, "a list")),
            },
        }
    }

    /// The first of `spellings` that `config.json` has; the first spelling if it has none of them.
    pub fn spelling(&self, spellings: &[&'static str]) -> &'static str {
        spellings.iter().find(|spelling| self.has(spelling)).unwrap_or(&spellings[0])
    }

    /// Reads the vocabulary size; without a key in GGUF, the length of its token list.
    pub fn vocabulary_size(&self) -> Result<u32> {
        const LIST: &str = "tokenizer.ggml.tokens";
        match (self.count("vocab_size", "vocab_size")?, self.list_length(LIST)?) {
            (None, Some(length)) => self.check_width(LIST, length as u64),
            _ => self.required_width("vocab_size", "vocab_size"),
        }
    }

    /// Reads the epsilon of a norm, 1e-5 by default.
    pub fn epsilon(&self, gguf: &str, hugging_face: &str) -> Result<f32> {
        let epsilon = self.number(gguf, hugging_face)?.unwrap_or(1e-5);
        if epsilon > 1.0 || (epsilon as f32) < f32::MIN_POSITIVE {
            let field = self.field(gguf, hugging_face);
            return Err(self.malformed(&field, epsilon, "a positive number up to 1"));
        }
        Ok(epsilon as f32)
    }

    /// Reads a number that is finite as f32.
    pub fn number(&self, gguf: &str, hugging_face: &str) -> Result<Option<f64>> {
        let (field, found) = match &self.checkpoint.container {
            Container::Gguf(metadata) => {
                let key = self.key(gguf);
                (key.clone(), metadata.f64(&key)?)
            }
            Container::Safetensors(folder) => match pointer(&folder.config, hugging_face) {
                None => return Ok(None),
                Some(value) => {
                    let number = folder::number(value);
                    let number =
                        number.ok_or_else(|| self.malformed(hugging_face, value, "a number"))?;
                    (hugging_face.to_owned(), Some(number))
                }
            },
        };
        match found {
            Some(number) if !(number as f32).is_finite() => {
                Err(self.malformed(&field, number, "a finite number"))
            }
            found => Ok(found),
        }
    }

    /// Reads a factor: a positive number, small and large enough to be divided by.
    pub fn factor(&self, gguf: &str, hugging_face: &str) -> Result<Option<f32>> {
        let found = self.number(gguf, hugging_face)?;
        found.map(|found| self.check_factor(&self.field(gguf, hugging_face), found)).transpose()
    }

    /// Checks a factor that a field states.
    pub fn check_factor(&self, field: &str, found: f64) -> Result<f32> {
        match found {
            1e-9..=1e9 => Ok(found as f32),
            _ => Err(self.malformed(field, found, "a positive number from 1e-9 to 1e9")),
        }
    }

    /// Reads a string.
    pub fn text(&self, gguf: &str, hugging_face: &str) -> Result<Option<&'a str>> {
        match &self.checkpoint.container {
            Container::Gguf(metadata) => metadata.str(&self.key(gguf)),
            Container::Safetensors(folder) => match pointer(&folder.config, hugging_face) {
                None => Ok(None),
                Some(Value::String(text)) => Ok(Some(text)),
                Some(value) => Err(self.malformed(hugging_face, value, "a string")),
            },
        }
    }

    /// Reads a list of strings from `config.json`.
    pub fn texts(&self, hugging_face: &str) -> Result<Option<Vec<&'a str>>> {
        let Container::Safetensors(folder) = &self.checkpoint.container else { return Ok(None) };
        let Some(value) = pointer(&folder.config, hugging_face) else { return Ok(None) };
        let texts = value.as_array().and_then(|list| list.iter().map(Value::as_str).collect());
        texts.map(Some).ok_or_else(|| self.malformed(hugging_face, value, "a list of strings"))
    }

    /// Checks a string: `unsupported-format` if it is present and not one of `known`.
    pub fn check_choice(&self, gguf: &str, hugging_face: &str, known: &[&str]) -> Result<()> {
        match self.text(gguf, hugging_face)? {
            Some(found) if !known.contains(&found) => {
                let field = self.field(gguf, hugging_face);
                Err(self.unsupported(&field, found, &known.join(" or ")))
            }
            _ => Ok(()),
        }
    }

    /// Reads a boolean from `config.json`; `None` in GGUF, which has no keys for these flags.
    pub fn flag(&self, hugging_face: &str) -> Result<Option<bool>> {
        match &self.checkpoint.container {
            Container::Gguf(_) => Ok(None),
            Container::Safetensors(folder) => match pointer(&folder.config, hugging_face) {
                None => Ok(None),
                Some(Value::Bool(flag)) => Ok(Some(*flag)),
                Some(value) => Err(self.malformed(hugging_face, value, "true or false")),
            },
        }
    }

    /// Reads a count from GGUF; `None` in `config.json`.
    pub fn gguf_count(&self, gguf: &str) -> Result<Option<u32>> {
        if self.is_gguf() { self.count(gguf, "") } else { Ok(None) }
    }

    /// Reads a boolean from GGUF; `None` in `config.json`.
    pub fn gguf_flag(&self, gguf: &str) -> Result<Option<bool>> {
        match &self.checkpoint.container {
            Container::Gguf(metadata) => metadata.bool(&self.key(gguf)),
            Container::Safetensors(_) => Ok(None),
        }
    }

    /// Reads a list of words from `config.json`, one for each layer.
    pub fn layer_kinds(&self, field: &str, layer_count: u32) -> Result<Option<Vec<&'a str>>> {
        let kinds = self.texts(field)?;
        match &kinds {
            Some(kinds) if kinds.len() != layer_count as usize => {
                let expected = format!("one for each of {layer_count} layers");
                Err(self.malformed(field, format!("{} types", kinds.len()), &expected))
            }
            _ => Ok(kinds),
        }
    }

    /// Length of a list of strings in GGUF, by its full key.
    fn list_length(&self, key: &str) -> Result<Option<usize>> {
        match &self.checkpoint.container {
            Container::Gguf(metadata) => Ok(metadata.strings(key)?.map(|list| list.len())),
            Container::Safetensors(_) => Ok(None),
        }
    }

    /// A `malformed` error that names file, field, the value found and the expected values.
    pub fn malformed(&self, field: &str, found: impl Display, expected: &str) -> Error {
        self.error(Code::Malformed, field, found, expected)
    }

    /// An `unsupported-format` error that names file, field, the value found and the supported
    /// ones.
    pub fn unsupported(&self, field: &str, found: impl Display, supported: &str) -> Error {
        self.error(Code::UnsupportedFormat, field, found, supported)
    }

    /// An error that names file, field, the value found and the expected values.
    pub(super) fn error(
        &self,
        code: Code,
        field: &str,
        found: impl Display,
        expected: &str,
    ) -> Error {
        let file = &self.checkpoint.name;
        let found = cut(found.to_string(), MAX_QUOTED_CHARS);
        let place = if self.is_gguf() { "" } else { "config.json: " };
        Error::new(code, format!("{file}: {place}{field}: found {found}, expected {expected}"))
    }

    /// A GGUF key with the architecture's prefix.
    fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }
}

/// The value at a dotted path; `null` counts as absent.
fn pointer<'a>(config: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(config, |value, key| value.get(key)).filter(|value| !value.is_null())
}

impl TensorShapes for Checkpoint {
    fn tensor(&self, name: &str) -> Option<(crate::formats::Format, &[usize])> {
        self.tensors.get(name).map(|tensor| (tensor.format, tensor.shape.as_slice()))
    }
}
