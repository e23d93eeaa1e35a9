//! Invalid GGUF models: a valid tiny model of some architecture with a few changes.

use std::cell::OnceCell;

use libfuzzer_sys::arbitrary::Result;

use crate::writers::gguf::{Gguf, array, f32_bytes, kind, string, tiny_llama};
use crate::writers::nemotron_h::tiny_nemotron_h;
use crate::{TEMPLATE, Unstructured, odd_number, odd_text};
use tablm::formats::Format;

const HIDDEN: usize = 64;
const LAYERS: usize = 2;

thread_local! {
    static MODELS: OnceCell<Vec<Gguf>> = const { OnceCell::new() };
}

/// A Llama under another architecture name, with additional vectors of these lengths: one in every
/// layer, or a single one if the name starts with `.`.
fn extended_llama(architecture: &str, vectors: &[(&str, usize)]) -> Gguf {
    let mut file = tiny_llama(HIDDEN, Format::Q8_0);
    for (key, value) in &mut file.keys {
        if let Some(rest) = key.strip_prefix(b"llama.") {
            *key = [architecture.as_bytes(), b".", rest].concat();
        } else if key == b"general.architecture" {
            *value = [&kind::STRING.to_le_bytes()[..], &string(architecture.as_bytes())].concat();
        }
    }
    for (name, length) in vectors {
        let names = match name.strip_prefix('.') {
            Some(name) => vec![name.to_owned()],
            None => (0..LAYERS).map(|layer| format!("blk.{layer}.{name}")).collect(),
        };
        for name in names {
            file = file.tensor(&name, Format::F32, &[*length], f32_bytes(vec![0.5; *length]));
        }
    }
    file
}

/// Valid models of several architectures.
pub fn models() -> Vec<Gguf> {
    let (kv, head) = (HIDDEN / 2, HIDDEN / 4);
    let post_norms = [("post_attention_norm.weight", HIDDEN), ("post_ffw_norm.weight", HIDDEN)];
    let head_norms = [("attn_q_norm.weight", head), ("attn_k_norm.weight", head)];
    let biases = [("attn_q.bias", HIDDEN), ("attn_k.bias", kv), ("attn_v.bias", kv)];
    let phi = [
        ("attn_norm.bias", HIDDEN),
        ("attn_output.bias", HIDDEN),
        ("ffn_up.bias", 2 * HIDDEN),
        ("ffn_down.bias", HIDDEN),
        (".output_norm.bias", HIDDEN),
        (".output.bias", 260),
    ];
    let output = f32_bytes((0..260 * HIDDEN).map(|i| (i % 13) as f32 / 13.0));
    let mut phi2 = extended_llama("phi2", &[&biases[..], &phi].concat())
        .f32("phi2.attention.layer_norm_epsilon", 1e-5)
        .tensor("output.weight", Format::F32, &[260, HIDDEN], output);
    for layer in 0..LAYERS {
        phi2 = phi2
            .without(&format!("blk.{layer}.ffn_gate.weight"))
            .without(&format!("blk.{layer}.ffn_norm.weight"));
    }
    let all = [
        tiny_llama(HIDDEN, Format::Q4_0),
        tiny_llama(HIDDEN, Format::F16),
        extended_llama("qwen2", &biases),
        extended_llama("gemma2", &post_norms),
        extended_llama("gemma3", &[&post_norms[..], &head_norms].concat()),
        phi2,
        tiny_nemotron_h("M*-"),
    ];
    all.map(|model| model.str("tokenizer.chat_template", TEMPLATE)).into()
}

/// A value of some type, preceded by its type number.
fn value(input: &mut Unstructured) -> Result<Vec<u8>> {
    let number = odd_number(input)?;
    Ok(match input.int_in_range(0..=9)? {
        0..=2 => [&kind::U32.to_le_bytes()[..], &(number as u32).to_le_bytes()].concat(),
        3 => [&kind::U64.to_le_bytes()[..], &number.to_le_bytes()].concat(),
        4 => [&kind::I32.to_le_bytes()[..], &(number as i32).to_le_bytes()].concat(),
        5 => {
            let odd = [0.0, -1.0, f32::NAN, f32::INFINITY, 1e-30, 1e30, number as f32];
            [&kind::F32.to_le_bytes()[..], &input.choose(&odd)?.to_le_bytes()].concat()
        }
        6 => [&kind::BOOL.to_le_bytes()[..], &[(number & 1) as u8]].concat(),
        7 => [&kind::STRING.to_le_bytes()[..], &string(odd_text(input)?.as_bytes())].concat(),
        8 => {
            let count = input.int_in_range(0..=300)?;
            let texts: Vec<Vec<u8>> = (0..count)
                .map(|_| Ok(string(odd_text(input)?.as_bytes())))
                .collect::<Result<_>>()?;
            array(kind::STRING, count, &texts.concat())
        }
        _ => {
            let count = number % 1000;
            array(
                kind::U32,
                count,
                &(odd_number(input)? as u32).to_le_bytes().repeat(count as usize),
            )
        }
    })
}

fn change_key(file: &mut Gguf, input: &mut Unstructured) -> Result<()> {
    let index = input.choose_index(file.keys.len())?;
    match input.int_in_range(0..=7)? {
        0 => drop(file.keys.swap_remove(index)),
        1 => {
            let key = file.keys[index].clone();
            file.keys.push(key);
        }
        2 => {
            const FURTHER: [&str; 10] = [
                "tokenizer.chat_template",
                "general.alignment",
                "tokenizer.ggml.pre",
                "tokenizer.ggml.unknown_token_id",
                "tokenizer.ggml.add_space_prefix",
                "tokenizer.ggml.scores",
                "llama.rope.scaling.type",
                "llama.rope.scaling.factor",
                "gemma2.attn_logit_softcapping",
                "llama.attention.key_length",
            ];
            let key = input.choose(&FURTHER)?.as_bytes().to_vec();
            file.keys.push((key, value(input)?));
        }
        3 => {
            // Another number of the same type, such as a wrong count.
            let number = odd_number(input)?.to_le_bytes();
            let bytes = &mut file.keys[index].1;
            let length = bytes.len().saturating_sub(4).min(8);
            bytes[4..4 + length].copy_from_slice(&number[..length]);
        }
        _ => file.keys[index].1 = value(input)?,
    }
    Ok(())
}

fn change_tensor(file: &mut Gguf, input: &mut Unstructured) -> Result<()> {
    let index = input.choose_index(file.tensors.len())?;
    let number = odd_number(input)?;
    let tensor = &mut file.tensors[index];
    match input.int_in_range(0..=8)? {
        0 => drop(file.tensors.swap_remove(index)),
        1 => {
            let copy = tensor.clone();
            file.tensors.push(copy);
        }
        2 => tensor.name = odd_text(input)?.into_bytes(),
        3 => tensor.type_number = number as u32,
        4 => tensor.offset = Some(number),
        5 => tensor.axes.push(number),
        6 if !tensor.data.is_empty() => {
            let start = input.choose_index(tensor.data.len())?;
            let end = tensor.data.len().min(start + number as u8 as usize);
            tensor.data[start..end].fill(input.arbitrary()?);
        }
        _ if !tensor.axes.is_empty() => {
            let axis = input.choose_index(tensor.axes.len())?;
            tensor.axes[axis] = number;
        }
        _ => {}
    }
    Ok(())
}

/// A valid file with the changes that the input selects.
pub fn changed_file(input: &mut Unstructured) -> Result<Vec<u8>> {
    let mut file = MODELS.with(|known| {
        let known = known.get_or_init(models);
        input.choose(known).cloned()
    })?;
    for _ in 0..input.int_in_range(0..=5)? {
        if input.ratio(1, 3)? && !file.tensors.is_empty() {
            change_tensor(&mut file, input)?;
        } else if !file.keys.is_empty() {
            change_key(&mut file, input)?;
        }
    }
    let mut bytes = file.bytes();
    match input.int_in_range(0..=15)? {
        0 => bytes.truncate(input.choose_index(bytes.len())?),
        1 => {
            let place = input.choose_index(bytes.len().min(8192))?;
            bytes[place] = input.arbitrary()?;
        }
        _ => {}
    }
    Ok(bytes)
}
