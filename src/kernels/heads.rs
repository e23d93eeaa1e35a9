//! Product outputs that are attention heads, normed, rotated and cached:
//! `shaders/epilogues/heads.wgsl`.

use super::norms::{rms_scale, sum_of_squares};
use super::{
    Activation, Binding, Buffer, Cache, CacheFormat, CpuMemory, Import, Pairing, Rotation,
};

/// Product outputs that are query heads, then key heads, then value heads; a product can lack some
/// of the three. Queries and keys are normed head by head, if there is a norm, and rotated by the
/// row's position; keys and values go to the caches. Outputs after the values are gates of the
/// heads ([`super::GateHeads`]); they follow the padded queries of the row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heads {
    /// Matrix rows that compute queries, keys and values; 0 where the product lacks them.
    pub rows: [u32; 3],
    /// Key cache of the layer.
    pub keys: Cache,
    /// Value cache of the layer, in the same format.
    pub values: Cache,
    /// Norm of each query and key head before the rotation. One workgroup computes a head then.
    pub norm: Option<HeadNorm>,
    /// Rotation of queries and keys.
    pub rotation: Rotation,
}

/// Root-mean-square norm of query and key heads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeadNorm {
    /// `[2, head_dim]`: the weight of queries, then that of keys.
    pub weight: Buffer,
    /// Added to the mean of squares before its root.
    pub epsilon: f32,
}

impl Heads {
    /// Column of the first gate in a row of `q_rows` queries.
    pub(crate) fn first_gate(q_rows: usize) -> usize {
        Activation::stride_of(q_rows as u32) as usize
    }

    /// Bindings that follow the queries.
    pub(super) fn bindings(&self) -> Vec<Binding> {
        let mut bindings = vec![
            Binding::write(self.keys.buffer),
            Binding::write(self.values.buffer),
            Binding::read(self.rotation.table),
        ];
        bindings.extend(self.norm.map(|norm| Binding::read(norm.weight)));
        bindings
    }

    /// Shader file that stores pairs of elements in `format`, if there is one.
    pub(crate) fn store_file(format: CacheFormat) -> Option<&'static str> {
        match format {
            CacheFormat::F32 => Some("caches/f32_pairs"),
            CacheFormat::F16 => Some("caches/f16_pairs"),
            // A scale is that of 32 elements, and an invocation has four.
            CacheFormat::Q8 => None,
        }
    }

    pub(super) fn imports(&self) -> impl Iterator<Item = Import> + use<> {
        let norm = if self.norm.is_some() { "head_norms/head_rms" } else { "head_norms/none" };
        let store = Self::store_file(self.keys.rows.format).map(|file| ("store", file));
        store.into_iter().chain([("head_norm", norm)])
    }

    pub(super) fn constants(&self) -> Vec<(&'static str, f64)> {
        let [q, k, v] = self.rows;
        let mut constants = vec![
            ("Q_ROWS", q.into()),
            ("K_ROWS", k.into()),
            ("V_ROWS", v.into()),
            ("HEAD_DIM", self.rotation.head_dim.into()),
            ("HALF", (self.rotation.rotary_dim / 2).into()),
            ("HALVES", u32::from(self.rotation.pairing == Pairing::Halves).into()),
            ("RING", self.keys.rows.ring_length().into()),
        ];
        constants.extend(self.norm.map(|norm| ("HEAD_EPSILON", norm.epsilon.into())));
        constants
    }

    /// CPU reference: norms and rotates the heads of a row, then writes queries to `q`, keys and
    /// values to the row's position in the caches.
    pub(super) fn reference_row(
        &self,
        memory: &CpuMemory,
        position: u32,
        outputs: &mut [f32],
        [q, key, value]: [&mut [f32]; 3],
    ) {
        let [q_rows, k_rows, v_rows] = self.rows.map(|rows| rows as usize);
        let (rotated, rest) = outputs.split_at_mut(q_rows + k_rows);
        let (values, gates) = rest.split_at_mut(v_rows);
        let (queries, keys) = rotated.split_at_mut(q_rows);
        if let Some(HeadNorm { weight, epsilon }) = self.norm {
            let head_dim = self.rotation.head_dim as usize;
            let (q_weight, k_weight) = memory.read(weight).split_at(head_dim);
            norm_heads(queries, q_weight, epsilon);
            norm_heads(keys, &k_weight[..head_dim], epsilon);
        }
        let table = memory.read(self.rotation.table);
        self.rotation.rotate_heads(queries, table, position);
        self.rotation.rotate_heads(keys, table, position);
        q[..q_rows].copy_from_slice(queries);
        if !gates.is_empty() {
            q[Self::first_gate(q_rows)..][..gates.len()].copy_from_slice(gates);
        }
        for (cache, words, row) in [(self.keys, key, &*keys), (self.values, value, &*values)] {
            if !row.is_empty() {
                cache.rows.write_row(words, row);
            }
        }
    }
}

/// Root-mean-square norm of each head, in place.
fn norm_heads(heads: &mut [f32], weight: &[f32], epsilon: f32) {
    for head in heads.chunks_exact_mut(weight.len()) {
        let scale = rms_scale(sum_of_squares(head), head.len(), epsilon);
        for (x, weight) in head.iter_mut().zip(weight) {
            *x = (f64::from(*x) * scale * f64::from(*weight)) as f32;
        }
    }
}
