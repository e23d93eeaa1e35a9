//! Steps from the rows of a text to its embedding: pooling, dense layers, normalization, as
//! sentence-transformers or llama.cpp write them to a model's files.

use serde_json::Value;

use super::config::ConfigSource;
use crate::error::{Error, Result, excerpt, quoted};
use crate::kernels::{Activation, ActivationFunction};
use crate::plan::{Linear, PlanBuilder};
use crate::weights::{Checkpoint, SentenceModule};

/// Pooling: the row that stands for a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// Mean of all rows.
    Mean,
    /// The first row.
    First,
    /// The last row.
    Last,
}

/// A dense layer after the pooling.
#[derive(Debug, Clone)]
struct DenseLayer {
    weight: String,
    bias: Option<String>,
    outputs: u32,
    is_tanh: bool,
}

/// Steps from rows to an embedding.
#[derive(Debug, Clone)]
pub struct EmbeddingHead {
    /// Pooling.
    pub pooling: Pooling,
    dense: Vec<DenseLayer>,
    /// True if embeddings have length 1.
    pub is_normalized: bool,
}

impl EmbeddingHead {
    /// Reads the steps; `default` is the pooling of a model whose files state none. Without a list
    /// of modules, embeddings are normalized. Errors: `unsupported-format` and `malformed`.
    pub(super) fn read(source: &ConfigSource<'_>, default: Pooling) -> Result<Self> {
        let mut head = Self { pooling: default, dense: Vec::new(), is_normalized: true };
        if source.is_gguf() {
            let key = "pooling_type";
            head.pooling = match source.count(key, "")? {
                None | Some(0) => default,
                Some(1) => Pooling::Mean,
                Some(2) => Pooling::First,
                Some(3) => Pooling::Last,
                Some(found) => {
                    return Err(source.unsupported(&source.field(key, ""), found, "0 to 3"));
                }
            };
            for weight in ["dense_2.weight", "dense_3.weight"] {
                if let Some(outputs) = source.matrix_rows(weight)? {
                    let (weight, bias) = (weight.to_owned(), None);
                    head.dense.push(DenseLayer { weight, bias, outputs, is_tanh: false });
                }
            }
            return Ok(head);
        }
        let modules = source.sentence_modules();
        let mut rest = modules.iter().skip_while(|module| module.class == "Transformer").peekable();
        if rest.peek().is_some() {
            head.is_normalized = false;
        }
        if let Some(module) = rest.next_if(|module| module.class == "Pooling") {
            head.pooling = pooling(module)?;
        }
        while let Some(module) = rest.next_if(|module| module.class == "Dense") {
            head.dense.push(dense_layer(source, module)?);
        }
        head.is_normalized |= rest.next_if(|module| module.class == "Normalize").is_some();
        match rest.next() {
            None => Ok(head),
            Some(module) => {
                let expected = "Transformer, Pooling, Dense and Normalize in this order";
                Err(Error::unsupported_value(
                    "modules.json",
                    "type",
                    quoted(&module.class),
                    expected,
                ))
            }
        }
    }

    /// True if there is no dense layer.
    pub fn is_plain(&self) -> bool {
        self.dense.is_empty()
    }

    /// Appends pooling and dense layers: from all rows of a text, `[rows, width]`, to one.
    pub(super) fn append(&self, plan: &mut PlanBuilder<'_, '_>, x: Activation) -> Activation {
        plan.at("embedding head");
        let mut x = match self.pooling {
            Pooling::Mean => plan.mean_rows(x),
            Pooling::First => plan.first_row(x),
            Pooling::Last => plan.last_row(x),
        };
        for layer in &self.dense {
            let weight = plan.resources.weight_matrix(&layer.weight, layer.outputs, x.width);
            let bias = layer.bias.as_ref();
            let bias = bias.map(|bias| plan.resources.weight_vector(bias, layer.outputs));
            x = plan.linear(Linear { weight, bias }, x);
            if layer.is_tanh {
                x = plan.elementwise(x, ActivationFunction::Softcap(1.0));
            }
        }
        x
    }
}

/// `unsupported-format` for a field of a module's configuration.
fn unsupported(module: &SentenceModule, field: &str, found: &Value, expected: &str) -> Error {
    let file = format!("{}/config.json", module.path);
    Error::unsupported_value(&file, field, excerpt(found), expected)
}

/// Reads the pooling of a folder. `pooling_mode` or one of several flags states it.
fn pooling(module: &SentenceModule) -> Result<Pooling> {
    const FLAGS: [(&str, &str, Option<Pooling>); 7] = [
        ("pooling_mode_mean_tokens", "mean", Some(Pooling::Mean)),
        ("pooling_mode_cls_token", "cls", Some(Pooling::First)),
        ("pooling_mode_lasttoken", "lasttoken", Some(Pooling::Last)),
        ("pooling_mode_max_tokens", "max", None),
        ("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", None),
        ("pooling_mode_weightedmean_tokens", "weightedmean", None),
        // A prompt that is not pooled.
        ("include_prompt", "", None),
    ];
    let config = &module.config;
    let stated = config.get("pooling_mode").and_then(Value::as_str);
    let is_set = |(flag, name, _): &&(&str, &str, _)| match config.get(flag) {
        Some(Value::Bool(value)) => *value != name.is_empty(),
        _ => stated == Some(*name),
    };
    let mut set = FLAGS.iter().filter(is_set);
    match (set.next(), set.next()) {
        (Some((_, _, Some(pooling))), None) => Ok(*pooling),
        _ => {
            let expected = "mean, cls or lasttoken";
            Err(unsupported(module, "pooling_mode", config, expected))
        }
    }
}

/// Reads a dense layer of a folder.
fn dense_layer(source: &ConfigSource<'_>, module: &SentenceModule) -> Result<DenseLayer> {
    let function = module.config.get("activation_function").and_then(Value::as_str);
    let is_tanh = match function.unwrap_or_default().rsplit('.').next() {
        Some("Tanh") => true,
        Some("Identity") => false,
        _ => {
            let (field, expected) = ("activation_function", "Identity or Tanh");
            return Err(unsupported(module, field, &module.config, expected));
        }
    };
    let tensor = |part: &str| format!("{}.linear.{part}", module.path);
    let outputs = source.matrix_rows(&tensor("weight"))?;
    let outputs = outputs.ok_or_else(|| source.malformed(&tensor("weight"), "no matrix", "one"))?;
    let has_bias = source.has_tensor(&tensor("bias"));
    let bias = has_bias.then(|| tensor("bias"));
    Ok(DenseLayer { weight: tensor("weight"), bias, outputs, is_tanh })
}

/// Reads the steps from the last layer of a model to its embeddings. Models that generate text have
/// the embedding of the last token unless their files state another.
pub fn read_embedding_head(
    checkpoint: &Checkpoint,
    architecture: &'static str,
) -> Result<EmbeddingHead> {
    EmbeddingHead::read(&ConfigSource::new(checkpoint, architecture), Pooling::Last)
}
