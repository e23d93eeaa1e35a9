//! Rotary position embedding (Su et al. 2021), in place, from a table of cosines and sines.
//!
//! The host computes the table: WGSL guarantees sine and cosine only to 2⁻¹¹, and only for small
//! angles.

use std::ops::Range;

use super::{Activation, Binding, Buffer, CpuMemory, KernelRules, Step};

/// The two elements of a head that are rotated together as pair `i`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pairing {
    /// `(2i, 2i + 1)`, as GGUF stores the `llama` family.
    Adjacent,
    /// `(i, i + rotary_dim / 2)`, as Hugging Face transformers stores all models.
    Halves,
}

/// Parameters of the table of a [`Rope`].
#[derive(Debug, Clone, PartialEq)]
pub struct RotaryTable {
    /// Radians per position, for each pair of a head.
    pub frequencies: Vec<f32>,
    /// Name of the checkpoint's tensor whose elements divide the frequencies.
    pub divisors: Option<String>,
    /// Factor of all cosines and sines.
    pub magnitude: f32,
    /// Further factor, by position.
    pub position_scale: Option<PositionScale>,
    /// Number of positions.
    pub context_length: u32,
}

/// Factor that grows with the logarithm of the position, `1 + beta · ln(1 + ⌊position / period⌋)`:
/// the temperature of queries in Llama 4 and Ministral 3.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PositionScale {
    /// Growth of the factor.
    pub beta: f32,
    /// Positions with the same factor, at least 1; the first ones have the factor 1.
    pub period: u32,
}

impl PositionScale {
    /// True if a position before `context_length` has a factor other than 1.
    pub fn begins_before(self, context_length: u32) -> bool {
        context_length > self.period
    }

    fn of(self, position: u32) -> f64 {
        1.0 + f64::from(self.beta) * f64::from(1 + position / self.period).ln()
    }
}

impl RotaryTable {
    /// Words of one position.
    pub fn row_words(&self) -> u64 {
        2 * self.frequencies.len() as u64
    }

    /// Words of the table.
    pub fn words(&self) -> u64 {
        u64::from(self.context_length) * self.row_words()
    }

    /// Returns the rows `positions` of the table, `[positions, rotary_dim]`. Angles are rounded to
    /// `f32`, as in the implementations that models are trained with; cosines and sines are exact
    /// to `f32`.
    pub fn rows(&self, positions: Range<u32>, divisors: Option<&[f32]>) -> Vec<f32> {
        let frequency = |(pair, frequency): (usize, &f32)| {
            frequency / divisors.and_then(|divisors| divisors.get(pair)).copied().unwrap_or(1.0)
        };
        let frequencies: Vec<f32> = self.frequencies.iter().enumerate().map(frequency).collect();
        let mut values = Vec::new();
        for position in positions {
            let scale = self.position_scale.map_or(1.0, |scale| scale.of(position));
            let scale = f64::from(self.magnitude) * scale;
            let angles = frequencies.iter().map(|frequency| f64::from(position as f32 * frequency));
            values.extend(angles.clone().map(|angle| (scale * angle.cos()) as f32));
            values.extend(angles.map(|angle| (scale * angle.sin()) as f32));
        }
        values
    }
}

/// Rotation of heads by their position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rotation {
    /// `[context, rotary_dim]`: per position `rotary_dim / 2` cosines, then as many sines.
    pub table: Buffer,
    /// Elements of a head.
    pub head_dim: u32,
    /// Elements of a head that are rotated: the first ones.
    pub rotary_dim: u32,
    /// Elements that are rotated together.
    pub pairing: Pairing,
}

impl Rotation {
    /// Offsets in a head of the two elements of pair `i`.
    pub(crate) fn pair(&self, i: usize) -> (usize, usize) {
        match self.pairing {
            Pairing::Adjacent => (2 * i, 2 * i + 1),
            Pairing::Halves => (i, i + self.rotary_dim as usize / 2),
        }
    }

    /// CPU reference: rotates heads in place.
    pub(super) fn rotate_heads(&self, heads: &mut [f32], table: &[f32], position: u32) {
        let rotary = self.rotary_dim as usize;
        let row = &table[position as usize * rotary..][..rotary];
        for head in heads.chunks_exact_mut(self.head_dim as usize) {
            for i in 0..rotary / 2 {
                let (first, second) = self.pair(i);
                let (cos, sin) = (f64::from(row[i]), f64::from(row[rotary / 2 + i]));
                let (a, b) = (f64::from(head[first]), f64::from(head[second]));
                head[first] = (a * cos - b * sin) as f32;
                head[second] = (b * cos + a * sin) as f32;
            }
        }
    }
}

/// Rotates the first `rotary_dim` elements of every head by the row's position.
#[derive(Debug, Clone)]
pub struct Rope {
    /// Queries or keys, `[rows, head_count * head_dim]`, rotated in place.
    pub x: Activation,
    /// Table, and shape of the heads.
    pub rotation: Rotation,
}

impl Rope {
    fn pairs(&self) -> u32 {
        self.x.width / self.rotation.head_dim * (self.rotation.rotary_dim / 2)
    }
}

impl KernelRules for Rope {
    const NAME: &'static str = "rope";
    const SHADER: &'static str = include_wgsl!("../../shaders/rope.wgsl");

    fn bindings(&self) -> Vec<Binding> {
        vec![Binding::write(self.x.buffer), Binding::read(self.rotation.table)]
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        let (pair_step, pair_gap) = match self.rotation.pairing {
            Pairing::Adjacent => (2, 1),
            Pairing::Halves => (1, self.rotation.rotary_dim / 2),
        };
        vec![
            ("PAIRS", self.pairs().into()),
            ("STRIDE", self.x.stride.into()),
            ("HEAD_DIM", self.rotation.head_dim.into()),
            ("HALF", (self.rotation.rotary_dim / 2).into()),
            ("PAIR_STEP", pair_step.into()),
            ("PAIR_GAP", pair_gap.into()),
        ]
    }

    fn workgroups(&self, step: Step) -> [u32; 3] {
        [self.pairs().div_ceil(64), step.rows, 1]
    }

    fn reference(&self, memory: &mut CpuMemory, step: Step) {
        memory.update(self.x.buffer, |memory, x| {
            let table = memory.read(self.rotation.table);
            for row in 0..step.rows {
                let start = self.x.start(row);
                let heads = &mut x[start..start + self.x.width as usize];
                self.rotation.rotate_heads(heads, table, step.position + row);
            }
        });
    }
}
