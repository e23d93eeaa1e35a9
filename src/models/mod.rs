//! Model architectures: one file each, named as `general.architecture` names it in GGUF.
//!
//! An architecture reads its configuration from GGUF metadata or a Hugging Face `config.json`
//! and writes the plan of one step. To add one: its file and its entry in [`ARCHITECTURES`].

mod architecture;
mod bert;
mod config;
mod decoder;
mod ernie4_5;
mod exaone4;
mod falcon_h1;
mod gemma2;
mod gemma3;
mod gemma_embedding;
mod granite;
mod granitehybrid;
mod hunyuan_dense;
mod lfm2;
mod lfm3;
mod llama;
mod mamba;
mod mistral3;
mod nemotron_h;
mod olmo2;
mod phi2;
mod phi3;
mod pooling;
mod proportional_rotary;
mod qwen2;
mod qwen3;
mod rotary;
mod rotary_scaling;
mod smollm3;
mod windows;

pub use architecture::{Architecture, Shape};
pub use config::{ConfigSource, TensorNames};
pub use pooling::{EmbeddingHead, Pooling, read_embedding_head};

use crate::error::{Code, Error, Result};
use crate::weights::{Checkpoint, Container};

/// Reads and checks the configuration of an architecture.
type ReadArchitecture = fn(&ConfigSource<'_>) -> Result<Box<dyn Architecture>>;

/// An architecture and its names in model files.
pub struct Registration {
    /// `general.architecture` in GGUF.
    pub gguf: &'static str,
    /// `architectures[0]` in `config.json`.
    pub hugging_face: &'static [&'static str],
    /// `model_type` in `config.json`, read only if `architectures` is absent.
    pub model_type: &'static str,
    read: ReadArchitecture,
}

/// All supported architectures.
pub const ARCHITECTURES: &[Registration] = &[
    Registration {
        gguf: "bert",
        hugging_face: &["BertModel", "BertForMaskedLM"],
        model_type: "bert",
        read: bert::read,
    },
    Registration {
        gguf: "ernie4_5",
        hugging_face: &["Ernie4_5ForCausalLM", "Ernie4_5_ForCausalLM"],
        model_type: "ernie4_5",
        read: ernie4_5::read,
    },
    Registration {
        gguf: "exaone4",
        hugging_face: &["Exaone4ForCausalLM"],
        model_type: "exaone4",
        read: exaone4::read,
    },
    Registration {
        gguf: "falcon-h1",
        hugging_face: &["FalconH1ForCausalLM"],
        model_type: "falcon_h1",
        read: falcon_h1::read,
    },
    Registration {
        gguf: "gemma2",
        hugging_face: &["Gemma2ForCausalLM"],
        model_type: "gemma2",
        read: gemma2::read,
    },
    Registration {
        gguf: "gemma3",
        hugging_face: &["Gemma3ForCausalLM"],
        model_type: "gemma3_text",
        read: gemma3::read,
    },
    Registration {
        gguf: "gemma-embedding",
        hugging_face: &["Gemma3TextModel"],
        model_type: "gemma3_text",
        read: gemma_embedding::read,
    },
    Registration {
        gguf: "granite",
        hugging_face: &["GraniteForCausalLM"],
        model_type: "granite",
        read: granite::read,
    },
    Registration {
        gguf: "granitehybrid",
        hugging_face: &["GraniteMoeHybridForCausalLM"],
        model_type: "granitemoehybrid",
        read: granitehybrid::read,
    },
    Registration {
        gguf: "hunyuan-dense",
        hugging_face: &["HunYuanDenseV1ForCausalLM"],
        model_type: "hunyuan_v1_dense",
        read: hunyuan_dense::read,
    },
    Registration {
        gguf: "lfm2",
        hugging_face: &["Lfm2ForCausalLM"],
        model_type: "lfm2",
        read: lfm2::read,
    },
    Registration {
        gguf: "lfm3",
        hugging_face: &["Lfm3ForCausalLM"],
        model_type: "lfm3",
        read: lfm3::read,
    },
    Registration {
        gguf: "llama",
        hugging_face: &["LlamaForCausalLM"],
        model_type: "llama",
        read: llama::read,
    },
    Registration {
        gguf: "mistral3",
        hugging_face: &["Ministral3ForCausalLM"],
        model_type: "ministral3",
        read: mistral3::read,
    },
    Registration {
        gguf: "nemotron_h",
        hugging_face: &["NemotronHForCausalLM"],
        model_type: "nemotron_h",
        read: nemotron_h::read,
    },
    Registration {
        gguf: "olmo2",
        hugging_face: &["Olmo2ForCausalLM", "Olmo3ForCausalLM"],
        model_type: "olmo2",
        read: olmo2::read,
    },
    Registration {
        gguf: "phi2",
        hugging_face: &["PhiForCausalLM"],
        model_type: "phi",
        read: phi2::read,
    },
    Registration {
        gguf: "phi3",
        hugging_face: &["Phi3ForCausalLM"],
        model_type: "phi3",
        read: phi3::read,
    },
    Registration {
        gguf: "qwen2",
        hugging_face: &["Qwen2ForCausalLM"],
        model_type: "qwen2",
        read: qwen2::read,
    },
    Registration {
        gguf: "qwen3",
        hugging_face: &["Qwen3ForCausalLM", "Qwen3Model"],
        model_type: "qwen3",
        read: qwen3::read,
    },
    Registration {
        gguf: "smollm3",
        hugging_face: &["SmolLM3ForCausalLM"],
        model_type: "smollm3",
        read: smollm3::read,
    },
];

/// Reads the model of a checkpoint: the GGUF name of its architecture, and its configuration.
/// `unknown-architecture` lists the supported ones; `malformed` and `unsupported-format` name the
/// field of the configuration.
pub fn read(checkpoint: &Checkpoint) -> Result<(&'static str, Box<dyn Architecture>)> {
    let file = &checkpoint.name;
    type NamesOf = fn(&'static Registration) -> &'static [&'static str];
    let (field, found, names): (_, _, NamesOf) = match &checkpoint.container {
        Container::Gguf(metadata) => {
            let found = metadata.str("general.architecture")?;
            ("general.architecture", found, |known| std::slice::from_ref(&known.gguf))
        }
        Container::Safetensors(folder) => {
            let text = |path| folder.config.pointer(path).and_then(|name| name.as_str());
            match text("/architectures/0") {
                Some(found) => {
                    ("config.json: architectures", Some(found), |known| known.hugging_face)
                }
                None => ("config.json: model_type", text("/model_type"), |known| {
                    std::slice::from_ref(&known.model_type)
                }),
            }
        }
    };
    let found = found.unwrap_or_default();
    let Some(registration) = ARCHITECTURES.iter().find(|known| names(known).contains(&found))
    else {
        let names: Vec<_> =
            ARCHITECTURES.iter().flat_map(|known| names(known).first()).copied().collect();
        let names = names.join(", ");
        let message = format!("{file}: {field}: found {found:?}, expected one of {names}");
        return Err(Error::new(Code::UnknownArchitecture, message));
    };
    let source = ConfigSource::new(checkpoint, registration.gguf);
    Ok((registration.gguf, (registration.read)(&source)?))
}
