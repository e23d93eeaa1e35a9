//! Query, key and value projections that a GGUF file stores as one tensor.

use std::collections::BTreeMap;

use super::metadata::Metadata;
use crate::error::{Error, Result};
use crate::weights::tensor::Tensor;

/// Replaces `blk.N.attn_qkv.…` by the three tensors that it contains, named as in files that store
/// them apart. If the row count does not match the heads, the tensor stays and is later refused as
/// unknown.
pub(super) fn split(metadata: &Metadata, tensors: &mut BTreeMap<String, Tensor>) -> Result<()> {
    let is_fused = |name: &&String| name.contains(".attn_qkv.");
    let fused_names: Vec<String> = tensors.keys().filter(is_fused).cloned().collect();
    if fused_names.is_empty() {
        return Ok(());
    }
    let widths = widths(metadata)?;
    let length = widths.iter().fold(0u64, |sum, width| sum.saturating_add(*width));
    for name in fused_names {
        let is_complete =
            |tensor: &&Tensor| tensor.shape.first().is_some_and(|axis| *axis as u64 == length);
        let Some(fused) = tensors.get(&name).filter(is_complete).cloned() else { continue };
        tensors.remove(&name);
        let mut offset = fused.offset;
        for (part, width) in ["attn_q", "attn_k", "attn_v"].into_iter().zip(widths) {
            let mut tensor =
                Tensor { name: name.replace("attn_qkv", part), offset, ..fused.clone() };
            tensor.shape[0] = width as usize;
            tensor.size_bytes =
                tensor.rows() as u64 * tensor.format.row_bytes(tensor.columns())? as u64;
            offset += tensor.size_bytes;
            let place = format!("tensor {}", tensor.name);
            if tensors.insert(tensor.name.clone(), tensor).is_some() {
                return Err(Error::malformed_value(
                    metadata.file(),
                    &place,
                    format!("both this tensor and {name}"),
                    "one of them",
                ));
            }
        }
    }
    Ok(())
}

/// Rows of the query, key and value projections.
fn widths(metadata: &Metadata) -> Result<[u64; 3]> {
    let architecture = metadata.str("general.architecture")?.unwrap_or_default();
    let count = |key: &str| metadata.u64(&format!("{architecture}.{key}"));
    let heads = count("attention.head_count")?.unwrap_or(0);
    let kv_heads = count("attention.head_count_kv")?.unwrap_or(heads);
    let head_dim = match count("attention.key_length")? {
        Some(head_dim) => head_dim,
        None => {
            count("embedding_length")?.and_then(|hidden| hidden.checked_div(heads)).unwrap_or(0)
        }
    };
    Ok([heads, kv_heads, kv_heads].map(|heads| heads.saturating_mul(head_dim)))
}
