//! Rotary position embedding (Su et al. 2021), in place, from a table of cosines and sines.
//!
//! The table is computed on the host: WGSL promises sine and cosine only to 2⁻¹¹, and only
//! for small angles.

use std::ops::Range;

use super::{Activation, Binding, Buffer, CpuMemory, KernelRules, Step};

/// Which two elements of a head turn together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pairing {
    /// `(2i, 2i + 1)`: how GGUF stores the `llama` family.
    Adjacent,
    /// `(i, i + rotary_dim / 2)`: how Hugging Face stores everything.
    Halves,
}

/// What the table of a [`Rope`] is computed from.
#[derive(Debug, Clone, PartialEq)]
pub struct RotaryTable {
    /// Radians per position, of each pair of a head.
    pub frequencies: Vec<f32>,
    /// A tensor of the checkpoint by whose elements the frequencies are divided.
    pub divisors: Option<String>,
    /// Positions.
    pub context_length: u32,
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

    /// Rows `positions` of the table, `[positions, rotary_dim]`. Angles are rounded to f32, as in
    /// the implementations that models are trained with; their cosines and sines are exact to f32.
    pub fn rows(&self, positions: Range<u32>, divisors: Option<&[f32]>) -> Vec<f32> {
        let frequency = |(pair, frequency): (usize, &f32)| {
            frequency / divisors.and_then(|divisors| divisors.get(pair)).copied().unwrap_or(1.0)
        };
        let frequencies: Vec<f32> = self.frequencies.iter().enumerate().map(frequency).collect();
        let mut values = Vec::new();
        for position in positions {
            let angles = frequencies.iter().map(|frequency| f64::from(position as f32 * frequency));
            values.extend(angles.clone().map(|angle| angle.cos() as f32));
            values.extend(angles.map(|angle| angle.sin() as f32));
        }
        values
    }
}

/// How heads turn with their position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Turn {
    /// `[context, rotary_dim]`: per position `rotary_dim / 2` cosines, then as many sines.
    pub table: Buffer,
    /// Elements of a head.
    pub head_dim: u32,
    /// Elements of a head that turn.
    pub rotary_dim: u32,
    /// Which elements turn together.
    pub pairing: Pairing,
}

impl Turn {
    /// Offsets in a head of the two elements of pair `i`.
    fn pair(&self, i: usize) -> (usize, usize) {
        match self.pairing {
            Pairing::Adjacent => (2 * i, 2 * i + 1),
            Pairing::Halves => (i, i + self.rotary_dim as usize / 2),
        }
    }

    /// Turns heads in place.
    pub(super) fn heads(&self, heads: &mut [f32], table: &[f32], position: u32) {
        let rotary = self.rotary_dim as usize;
        let turn = &table[position as usize * rotary..][..rotary];
        for head in heads.chunks_exact_mut(self.head_dim as usize) {
            for i in 0..rotary / 2 {
                let (first, second) = self.pair(i);
                let (cos, sin) = (f64::from(turn[i]), f64::from(turn[rotary / 2 + i]));
                let (a, b) = (f64::from(head[first]), f64::from(head[second]));
                head[first] = (a * cos - b * sin) as f32;
                head[second] = (b * cos + a * sin) as f32;
            }
        }
    }
}

/// Turns the first `rotary_dim` elements of every head by the row's position.
#[derive(Debug, Clone)]
pub struct Rope {
    /// Queries or keys, `[rows, head_count * head_dim]`, turned in place.
    pub x: Activation,
    /// How.
    pub turn: Turn,
}

impl Rope {
    fn pairs(&self) -> u32 {
        self.x.width / self.turn.head_dim * (self.turn.rotary_dim / 2)
    }
}

impl KernelRules for Rope {
    const NAME: &'static str = "rope";
    const SHADER: &'static str = include_str!("../../shaders/rope.wgsl");

    fn bindings(&self) -> Vec<Binding> {
        vec![Binding::write(self.x.buffer), Binding::read(self.turn.table)]
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        let (first, second) = match self.turn.pairing {
            Pairing::Adjacent => (2, 1),
            Pairing::Halves => (1, self.turn.rotary_dim / 2),
        };
        vec![
            ("PAIRS", self.pairs().into()),
            ("STRIDE", self.x.stride.into()),
            ("HEAD_DIM", self.turn.head_dim.into()),
            ("HALF", (self.turn.rotary_dim / 2).into()),
            ("PAIR_STEP", first.into()),
            ("PAIR_GAP", second.into()),
        ]
    }

    fn workgroups(&self, step: Step) -> [u32; 3] {
        [self.pairs().div_ceil(64), step.rows, 1]
    }

    fn reference(&self, memory: &mut CpuMemory, step: Step) {
        memory.update(self.x.buffer, |memory, x| {
            let table = memory.read(self.turn.table);
            for row in 0..step.rows {
                let start = self.x.start(row);
                let heads = &mut x[start..start + self.x.width as usize];
                self.turn.heads(heads, table, step.position + row);
            }
        });
    }
}
