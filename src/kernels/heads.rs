//! Outputs of a product that are queries, keys and values: `shaders/epilogues/heads.wgsl`.

use super::{Binding, Cache, CacheFormat, Import, Pairing, Turn};

/// Rows of queries, then of keys, then of values; any of them may be none. Queries and keys are
/// turned by their positions; keys and values go to the caches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heads {
    /// Rows of queries, keys and values.
    pub rows: [u32; 3],
    /// The cache of keys.
    pub keys: Cache,
    /// The cache of values, in the same format.
    pub values: Cache,
    /// How queries and keys turn.
    pub turn: Turn,
}

impl Heads {
    /// What it binds after the queries.
    pub(super) fn bindings(&self) -> [Binding; 3] {
        [
            Binding::write(self.keys.buffer),
            Binding::write(self.values.buffer),
            Binding::read(self.turn.table),
        ]
    }

    /// The file that stores pairs in that format, if there is one.
    pub(crate) fn store(format: CacheFormat) -> Option<&'static str> {
        match format {
            CacheFormat::F32 => Some("caches/f32_pairs"),
            CacheFormat::F16 => Some("caches/f16_pairs"),
            // A scale is for more numbers than a quad has.
            CacheFormat::Q8 => None,
        }
    }

    pub(super) fn import(&self) -> Option<Import> {
        Self::store(self.keys.rows.format).map(|file| ("store", file))
    }

    pub(super) fn constants(&self) -> [(&'static str, f64); 5] {
        let [q, k, _] = self.rows;
        [
            ("Q_ROWS", q.into()),
            ("K_ROWS", k.into()),
            ("HEAD_DIM", self.turn.head_dim.into()),
            ("HALF", (self.turn.rotary_dim / 2).into()),
            ("HALVES", u32::from(self.turn.pairing == Pairing::Halves).into()),
        ]
    }

    /// Writes the outputs of a row to queries, and to the row's place in the caches.
    pub(super) fn finish(
        &self,
        table: &[f32],
        position: u32,
        outputs: &mut [f32],
        [q, key, value]: [&mut [f32]; 3],
    ) {
        let [q_rows, k_rows, _] = self.rows.map(|rows| rows as usize);
        let (turned, values) = outputs.split_at_mut(q_rows + k_rows);
        self.turn.heads(turned, table, position);
        let (queries, keys) = turned.split_at(q_rows);
        q[..q_rows].copy_from_slice(queries);
        for (cache, words, row) in [(self.keys, key, keys), (self.values, value, &*values)] {
            if !row.is_empty() {
                cache.rows.write_row(words, row);
            }
        }
    }
}
