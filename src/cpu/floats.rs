//! A weight matrix of floating-point numbers: panels of sixteen rows, column by column, each number as it
//! is stored; and its product with rows of inputs in `f32`, written once for every instruction set.
//!
//! Besides what [`super::tile`] asks of an instruction set's file this takes `FLOAT_ROWS`: rows of inputs
//! whose sums registers hold at once.

use bytemuck::cast_slice;
use half::f16;

use super::packed::{Halves, Line, PANEL};
use super::zeros;
use crate::error::Result;
use crate::formats::{FloatBits, UNIT};

/// The matrix.
#[derive(Debug)]
pub(crate) struct FloatPanels {
    pub(crate) bits: FloatBits,
    /// Columns of a panel: whole units, the last filled up with zeros.
    pub(crate) columns: usize,
    /// Panel by panel, column by column, where a number has 32 bits.
    pub(crate) words: Vec<Line>,
    /// The same where it has sixteen.
    pub(crate) halves: Vec<Halves>,
    /// Rows that are there.
    filled: usize,
}

impl FloatPanels {
    /// A matrix without rows yet.
    pub(super) fn new(name: &str, bits: FloatBits, rows: usize, columns: usize) -> Result<Self> {
        let [words, halves] = Self::counts(bits, rows, columns);
        let columns = columns.next_multiple_of(UNIT);
        Ok(Self {
            bits,
            columns,
            words: zeros(name, words)?,
            halves: zeros(name, halves)?,
            filled: 0,
        })
    }

    /// How many words and halves such a matrix has.
    fn counts(bits: FloatBits, rows: usize, columns: usize) -> [u64; 2] {
        let count = (rows.div_ceil(PANEL) * columns.next_multiple_of(UNIT)) as u64;
        if bits == FloatBits::Single { [count, 0] } else { [0, count] }
    }

    /// Bytes of such a matrix.
    pub(super) fn bytes_of(bits: FloatBits, rows: usize, columns: usize) -> u64 {
        let [words, halves] = Self::counts(bits, rows, columns);
        words * size_of::<Line>() as u64 + halves * size_of::<Halves>() as u64
    }

    /// Appends the next stored rows.
    pub(super) fn append(&mut self, row_bytes: usize, stored: &[u8]) {
        for row in stored.chunks_exact(row_bytes) {
            let (first, lane) = (self.filled / PANEL * self.columns, self.filled % PANEL);
            if self.bits == FloatBits::Single {
                for (line, bytes) in self.words[first..].iter_mut().zip(row.chunks_exact(4)) {
                    line.0[4 * lane..][..4].copy_from_slice(bytes);
                }
            } else {
                for (halves, bytes) in self.halves[first..].iter_mut().zip(row.chunks_exact(2)) {
                    halves.0[lane] = u16::from_le_bytes([bytes[0], bytes[1]]);
                }
            }
            self.filled += 1;
        }
    }

    /// The weights of a row.
    pub(super) fn row(&self, row: usize, weights: &mut [f32]) {
        let (first, lane) = (row / PANEL * self.columns, row % PANEL);
        for (column, weight) in (first..).zip(weights) {
            *weight = match self.bits {
                FloatBits::Single => cast_slice(&self.words[column].0)[lane],
                FloatBits::Half => f16::from_bits(self.halves[column].0[lane]).to_f32(),
                FloatBits::Brain => brains(&self.halves[column])[lane],
            };
        }
    }

    /// Bytes of this one.
    pub(super) fn size_bytes(&self) -> u64 {
        (size_of_val(&*self.words) + size_of_val(&*self.halves)) as u64
    }
}

/// What the upper halves of numbers stand for.
#[inline(always)]
pub(super) fn brains(halves: &Halves) -> [f32; PANEL] {
    let mut numbers = [0.0; PANEL];
    for (number, bits) in numbers.iter_mut().zip(halves.0) {
        *number = f32::from_bits(u32::from(bits) << 16);
    }
    numbers
}

/// `float_products`, with the instructions of the attribute.
macro_rules! float_products {
    ($(#[$instructions:meta])*) => {
        /// Outputs of some panels, a row of them for each of inputs, which lie one after another.
        $(#[$instructions])*
        pub(super) fn float_products(
            matrix: &FloatPanels,
            panels: std::ops::Range<usize>,
            inputs: &[f32],
            y: &mut [&mut [f32]],
        ) {
            match matrix.bits {
                FloatBits::Single => all_floats::<32>(matrix, panels, inputs, y),
                FloatBits::Half => all_floats::<16>(matrix, panels, inputs, y),
                FloatBits::Brain => all_floats::<8>(matrix, panels, inputs, y),
            }
        }

        /// Of numbers with so many bits, or with the exponents of 32 bits and eight.
        $(#[$instructions])*
        #[inline]
        fn all_floats<const BITS: usize>(
            matrix: &FloatPanels,
            panels: std::ops::Range<usize>,
            inputs: &[f32],
            y: &mut [&mut [f32]],
        ) {
            let together = y.len() / FLOAT_ROWS * FLOAT_ROWS;
            for (index, panel) in panels.enumerate() {
                for row in (0..together).step_by(FLOAT_ROWS) {
                    float_tile::<BITS, FLOAT_ROWS, 1>(matrix, panel, inputs, row, index * PANEL, y);
                }
                for row in together..y.len() {
                    float_tile::<BITS, 1, 4>(matrix, panel, inputs, row, index * PANEL, y);
                }
            }
        }

        /// One panel and `N` rows of inputs, for their outputs from a column on; each is `CHAINS` sums, which
        /// do not wait for each other, within a unit, and the sum of all units.
        $(#[$instructions])*
        #[inline]
        fn float_tile<const BITS: usize, const N: usize, const CHAINS: usize>(
            matrix: &FloatPanels,
            panel: usize,
            inputs: &[f32],
            first: usize,
            column: usize,
            y: &mut [&mut [f32]],
        ) {
            let units = matrix.columns / UNIT;
            let (x, _) = inputs.as_chunks::<UNIT>();
            let (words, _) = matrix.words.as_chunks::<UNIT>();
            let (half_words, _) = matrix.halves.as_chunks::<UNIT>();
            let mut totals = [splat(0.0); N];
            for unit in 0..units {
                let mut rows = [&x[first * units + unit]; N];
                for (index, row) in rows.iter_mut().enumerate() {
                    *row = &x[(first + index) * units + unit];
                }
                let mut sums = [[splat(0.0); N]; CHAINS];
                for i in 0..UNIT {
                    let weights = match BITS {
                        32 => rows_of(must_cast(words[panel * units + unit][i])),
                        16 => halves(&half_words[panel * units + unit][i]),
                        _ => rows_of(brains(&half_words[panel * units + unit][i])),
                    };
                    for (sum, row) in sums[i % CHAINS].iter_mut().zip(&rows) {
                        *sum = mul_add(weights, splat(row[i]), *sum);
                    }
                }
                for sums in sums {
                    for (total, sum) in totals.iter_mut().zip(sums) {
                        *total = mul_add(sum, splat(1.0), *total);
                    }
                }
            }
            for (y, total) in y[first..].iter_mut().zip(totals) {
                y[column..column + PANEL].copy_from_slice(&store(total));
            }
        }
    };
}

pub(super) use float_products;
