//! Projections that a file stores as one tensor, row after row: queries, keys and values, or the
//! gate and input of a feed-forward layer. They are replaced by the tensors that they contain,
//! named as in files that store them apart.
//!
//! A tensor whose row count does not match stays, and is later refused as unknown.

use std::collections::BTreeMap;

use serde_json::Value;

use super::gguf::metadata::Metadata;
use super::tensor::Tensor;
use crate::error::{Error, Result};

/// Splits fused tensors of a GGUF file: `attn_qkv`, and `ffn_up` where it has twice the rows.
pub(super) fn split_gguf(
    metadata: &Metadata,
    tensors: &mut BTreeMap<String, Tensor>,
) -> Result<()> {
    let architecture = metadata.str("general.architecture")?.unwrap_or_default();
    // The largest of the counts for each layer: layers without attention have 0.
    let count = |key: &str| {
        let counts = metadata.u64s_or_scalar(&format!("{architecture}.{key}")).ok()??;
        counts.into_iter().max()
    };
    let names = [".attn_q.", ".attn_k.", ".attn_v."];
    let head_counts = [count("attention.head_count"), count("attention.head_count_kv")];
    let qkv = qkv_rows(head_counts, count("attention.key_length"), count("embedding_length"));
    split(metadata.file(), tensors, ".attn_qkv.", &zip(names, qkv))?;
    let intermediate = count("feed_forward_length").unwrap_or(0);
    let gated = zip([".ffn_gate.", ".ffn_up."], [intermediate; 2]);
    split(metadata.file(), tensors, ".ffn_up.", &gated)
}

/// Splits fused tensors of a safetensors folder: `qkv_proj`, `gate_up_proj`, and
/// `input_linear` of Granite 4 H.
pub(super) fn split_safetensors(
    file: &str,
    config: &Value,
    tensors: &mut BTreeMap<String, Tensor>,
) -> Result<()> {
    let count = |key: &str| config.get(key).and_then(Value::as_u64);
    let head_counts = [count("num_attention_heads"), count("num_key_value_heads")];
    let qkv = qkv_rows(head_counts, count("head_dim"), count("hidden_size"));
    let names = [".q_proj.", ".k_proj.", ".v_proj."];
    split(file, tensors, ".qkv_proj.", &zip(names, qkv))?;
    let intermediate = count("intermediate_size").unwrap_or(0);
    let gated = zip([".gate_proj.", ".up_proj."], [intermediate; 2]);
    split(file, tensors, ".gate_up_proj.", &gated)?;
    let intermediate = count("shared_intermediate_size").unwrap_or(0);
    let halves = [".shared_mlp.gate_proj.", ".shared_mlp.up_proj."];
    split(file, tensors, ".shared_mlp.input_linear.", &zip(halves, [intermediate; 2]))
}

/// Rows of the projections of queries, keys and values. Zeros, which split nothing, if the
/// configuration does not state them.
fn qkv_rows(
    [heads, kv_heads]: [Option<u64>; 2],
    head_dim: Option<u64>,
    hidden: Option<u64>,
) -> [u64; 3] {
    let heads = heads.unwrap_or(0);
    let share = hidden.and_then(|hidden| hidden.checked_div(heads));
    let head_dim = head_dim.or(share).unwrap_or(0);
    let kv_heads = kv_heads.unwrap_or(heads);
    [heads, kv_heads, kv_heads].map(|heads| heads.saturating_mul(head_dim))
}

fn zip<const N: usize>(names: [&'static str; N], rows: [u64; N]) -> Vec<(&'static str, u64)> {
    names.into_iter().zip(rows).collect()
}

/// Replaces each tensor whose name contains `fused`, and which has the rows of all `parts`, by one
/// tensor for each part. A part is the text that its name has instead of `fused`, and its rows.
fn split(
    file: &str,
    tensors: &mut BTreeMap<String, Tensor>,
    fused: &str,
    parts: &[(&str, u64)],
) -> Result<()> {
    let length = parts.iter().fold(0u64, |sum, (_, rows)| sum.saturating_add(*rows));
    let is_complete = |tensor: &Tensor| {
        length > 0 && tensor.shape.first().is_some_and(|rows| *rows as u64 == length)
    };
    let is_fused =
        |(name, tensor): &(&String, &Tensor)| name.contains(fused) && is_complete(tensor);
    let names: Vec<String> =
        tensors.iter().filter(is_fused).map(|(name, _)| name.clone()).collect();
    for name in names {
        let Some(whole) = tensors.remove(&name) else { continue };
        let mut first = 0;
        for (part, rows) in parts {
            let tensor = whole.row_range(name.replacen(fused, part, 1), first, *rows as usize)?;
            first += *rows as usize;
            let place = format!("tensor {}", tensor.name);
            if tensors.insert(tensor.name.clone(), tensor).is_some() {
                let found = format!("both this tensor and {name}");
                return Err(Error::malformed_value(file, &place, found, "one of them"));
            }
        }
    }
    Ok(())
}
