//! Invalid safetensors folders: a valid tiny model with a few changes to its files.

use libfuzzer_sys::arbitrary::Result;
use serde_json::{Map, Value, json};

use crate::writers::gguf::{byte_letters, f32_bytes};
use crate::writers::random::Random;
use crate::writers::safetensors::{Folder, file};
use crate::{TEMPLATE, Unstructured, odd_number, odd_text};

const HIDDEN: usize = 64;
/// Size of the keys, and of the values, of a token.
const KV: usize = 32;
/// Inner size of the feed-forward layer.
const FFN: usize = 128;
const TOKENS: usize = 258;

/// Kinds of valid models, by `model_type` and architecture.
pub const KINDS: [[&str; 2]; 3] =
    [["llama", "LlamaForCausalLM"], ["qwen2", "Qwen2ForCausalLM"], ["gemma2", "Gemma2ForCausalLM"]];

/// Name, type, shape and bytes of each tensor.
type Tensors = Vec<(String, String, Vec<usize>, Vec<u8>)>;

/// An arbitrary JSON value, rarely deep.
pub fn odd_json(input: &mut Unstructured) -> Result<Value> {
    Ok(match input.int_in_range(0..=11)? {
        0 => Value::Null,
        1 => json!(input.arbitrary::<bool>()?),
        2..=4 => json!(odd_number(input)?),
        5 => json!(-(odd_number(input)? as i64 as f64)),
        6 => json!(odd_number(input)? as f64 / 3.0),
        7 => json!({ "__float__": input.choose(&["Infinity", "-Infinity", "NaN", "1.5"])? }),
        8 | 9 => json!(odd_text(input)?),
        10 => {
            let count = input.int_in_range(0..=4)?;
            (0..count).map(|_| odd_json(input)).collect::<Result<Vec<_>>>()?.into()
        }
        _ => {
            let count = input.int_in_range(0..=3)?;
            let entries = (0..count).map(|_| Ok((odd_text(input)?, odd_json(input)?)));
            entries.collect::<Result<Map<_, _>>>()?.into()
        }
    })
}

/// A vocabulary of all bytes, two merges and two special tokens.
pub fn tokenizer() -> Value {
    let letters: Vec<String> = byte_letters().iter().map(char::to_string).collect();
    let mut vocab: Map<String, Value> =
        letters.into_iter().zip(0..).map(|(text, id)| (text, json!(id))).collect();
    vocab.insert("he".into(), json!(256));
    json!({
        "version": "1.0",
        "added_tokens": [{"id": 257, "content": "<s>", "special": true}],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": vocab, "merges": [["h", "e"]]},
    })
}

/// Configuration and tensors of a valid model.
fn valid([kind, architecture]: [&str; 2]) -> (Map<String, Value>, Tensors) {
    let config = json!({
        "model_type": kind, "architectures": [architecture], "hidden_size": HIDDEN,
            "num_hidden_layers": 1, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 16, "intermediate_size": FFN, "vocab_size": TOKENS,
        "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
            "tie_word_embeddings": true,
        "hidden_act": "silu", "hidden_activation": "gelu_pytorch_tanh", "eos_token_id": 257,
            "query_pre_attn_scalar": 16, "sliding_window": 64,
    });
    let Value::Object(config) = config else { unreachable!() };
    let mut random = Random::new(5);
    let mut tensors = Tensors::new();
    let mut add = |name: &str, shape: &[usize]| {
        let bytes = f32_bytes((0..shape.iter().product()).map(|_| random.uniform() / 8.0));
        tensors.push((format!("model.{name}"), "F32".into(), shape.to_vec(), bytes));
    };
    add("embed_tokens.weight", &[TOKENS, HIDDEN]);
    add("norm.weight", &[HIDDEN]);
    for (name, shape) in [
        ("self_attn.q_proj.weight", &[HIDDEN, HIDDEN][..]),
        ("self_attn.k_proj.weight", &[KV, HIDDEN]),
        ("self_attn.v_proj.weight", &[KV, HIDDEN]),
        ("self_attn.o_proj.weight", &[HIDDEN, HIDDEN]),
        ("mlp.gate_proj.weight", &[FFN, HIDDEN]),
        ("mlp.up_proj.weight", &[FFN, HIDDEN]),
        ("mlp.down_proj.weight", &[HIDDEN, FFN]),
        ("input_layernorm.weight", &[HIDDEN]),
        ("post_attention_layernorm.weight", &[HIDDEN]),
    ] {
        add(&format!("layers.0.{name}"), shape);
    }
    let vectors: &[(&str, usize)] = match kind {
        "qwen2" => &[
            ("self_attn.q_proj.bias", HIDDEN),
            ("self_attn.k_proj.bias", KV),
            ("self_attn.v_proj.bias", KV),
        ],
        "gemma2" => &[
            ("pre_feedforward_layernorm.weight", HIDDEN),
            ("post_feedforward_layernorm.weight", HIDDEN),
        ],
        _ => &[],
    };
    for (name, length) in vectors {
        add(&format!("layers.0.{name}"), &[*length]);
    }
    (config, tensors)
}

fn change_config(config: &mut Map<String, Value>, input: &mut Unstructured) -> Result<()> {
    const FURTHER: [&str; 12] = [
        "attention_bias",
        "layer_types",
        "partial_rotary_factor",
        "quantization",
        "quantization_config",
        "rope_parameters",
        "rope_scaling",
        "text_config",
        "torch_dtype",
        "final_logit_softcapping",
        "bos_token_id",
        "use_sliding_window",
    ];
    let known: Vec<String> = config.keys().cloned().collect();
    let name = match input.int_in_range(0..=3)? {
        0 => (*input.choose(&FURTHER)?).to_owned(),
        _ => input.choose(&known)?.clone(),
    };
    match input.int_in_range(0..=4)? {
        0 => drop(config.shift_remove(&name)),
        1 => {
            let nested = json!({
                "rope_type": odd_text(input)?, "type": "linear", "factor": odd_json(input)?,
                    "rope_theta": odd_json(input)?,
                "bits": odd_json(input)?, "group_size": odd_json(input)?, "quant_method": "fp8",
            });
            config.insert(name, nested);
        }
        _ => drop(config.insert(name, odd_json(input)?)),
    }
    Ok(())
}

fn change_tensors(tensors: &mut Tensors, input: &mut Unstructured) -> Result<()> {
    const TYPES: [&str; 8] = ["F32", "F16", "BF16", "F8_E4M3", "I64", "U32", "U8", "BOOL"];
    let index = input.choose_index(tensors.len())?;
    let number = odd_number(input)?;
    let (name, dtype, shape, bytes) = &mut tensors[index];
    match input.int_in_range(0..=6)? {
        0 => drop(tensors.swap_remove(index)),
        1 => *name += ["_scale_inv", ".biases", "_scale", "x"][number as usize % 4],
        2 => *dtype = (*input.choose(&TYPES)?).to_owned(),
        3 => shape.push(number as usize),
        4 => bytes.truncate(number as usize),
        5 => bytes.fill(number as u8),
        _ => shape[0] = number as usize,
    }
    Ok(())
}

/// A valid folder with the changes that the input selects.
pub fn changed_folder(input: &mut Unstructured) -> Result<Folder> {
    let (mut config, mut tensors) = valid(*input.choose(&KINDS)?);
    let mut tokenizer_json = tokenizer().to_string();
    let mut other_files = Vec::new();
    for _ in 0..input.int_in_range(0..=5)? {
        match input.int_in_range(0..=7)? {
            0..=3 => change_config(&mut config, input)?,
            4 | 5 if !tensors.is_empty() => change_tensors(&mut tensors, input)?,
            6 => {
                let name = *input.choose(&[
                    "generation_config.json",
                    "tokenizer_config.json",
                    "special_tokens_map.json",
                ])?;
                let key = *input.choose(&[
                    "eos_token_id",
                    "eos_token",
                    "chat_template",
                    "added_tokens_decoder",
                    "add_bos_token",
                ])?;
                let content = json!({ key: odd_json(input)?, "bos_token": odd_json(input)? });
                other_files.push((name, content.to_string()));
            }
            _ => {
                let parts = crate::tokenizer_parts::json(input)?;
                tokenizer_json = parts.to_string();
            }
        }
    }
    let mut folder = write(config, &tensors, &tokenizer_json);
    for (name, text) in other_files {
        folder = folder.with(name, text.as_bytes());
    }
    Ok(folder)
}

fn write(config: Map<String, Value>, tensors: &Tensors, tokenizer_json: &str) -> Folder {
    let views: Vec<_> = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| (&**name, &**dtype, shape.clone(), bytes.clone()))
        .collect();
    Folder(Vec::new())
        .with("config.json", Value::Object(config).to_string().as_bytes())
        .with("tokenizer.json", tokenizer_json.as_bytes())
        .with("tokenizer_config.json", json!({ "chat_template": TEMPLATE }).to_string().as_bytes())
        .with("model.safetensors", &file(&views))
}

/// A valid folder of the given kind.
pub fn valid_folder(kind: [&str; 2]) -> Folder {
    let (config, tensors) = valid(kind);
    write(config, &tensors, &tokenizer().to_string())
}
