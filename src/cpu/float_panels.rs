//! Weight matrix of floating-point numbers, packed into panels of sixteen rows, and its
//! micro-kernel: the product with rows of f32 inputs, written once for all instruction sets.
//!
//! Besides the functions that [`super::microkernel`] lists, an instruction set's file defines
//! `FLOAT_ROWS`, the number of input rows whose sums fit the registers.

use bytemuck::cast_slice;
use half::f16;

use super::allocation::try_zeroed;
use super::integer_panels::{Halves, Line, PANEL};
use crate::error::Result;
use crate::formats::{FloatKind, UNIT};

/// A weight matrix of floating-point numbers in their stored encoding, packed into panels.
#[derive(Debug)]
pub(crate) struct FloatPanels {
    pub(crate) kind: FloatKind,
    /// Columns of a panel, padded with zeros to whole units.
    pub(crate) columns: usize,
    /// F32 weights, `[panels, columns]` lines of one number per row; else empty.
    pub(crate) words: Vec<Line>,
    /// F16 or BF16 weights, `[panels, columns]` lines of one number per row; else empty.
    pub(crate) halves: Vec<Halves>,
    /// Rows appended so far.
    filled_rows: usize,
}

impl FloatPanels {
    /// Allocates `rows` rows of `columns` weights, to be appended; `out-of-memory` if that fails.
    pub(super) fn new(name: &str, kind: FloatKind, rows: usize, columns: usize) -> Result<Self> {
        let [words, halves] = Self::counts(kind, rows, columns);
        let (words, halves) = (try_zeroed(name, words)?, try_zeroed(name, halves)?);
        let columns = columns.next_multiple_of(UNIT);
        Ok(Self { kind, columns, words, halves, filled_rows: 0 })
    }

    /// Numbers of 32-bit and of 16-bit lines.
    fn counts(kind: FloatKind, rows: usize, columns: usize) -> [u64; 2] {
        let count = (rows.div_ceil(PANEL) * columns.next_multiple_of(UNIT)) as u64;
        if kind == FloatKind::F32 { [count, 0] } else { [0, count] }
    }

    /// Bytes that a matrix of `rows` × `columns` takes.
    pub(super) fn bytes_of(kind: FloatKind, rows: usize, columns: usize) -> u64 {
        let [words, halves] = Self::counts(kind, rows, columns);
        words * size_of::<Line>() as u64 + halves * size_of::<Halves>() as u64
    }

    /// Packs and appends the next stored rows.
    pub(super) fn append(&mut self, row_bytes: usize, stored: &[u8]) {
        for row in stored.chunks_exact(row_bytes) {
            let (first, lane) = (self.filled_rows / PANEL * self.columns, self.filled_rows % PANEL);
            if self.kind == FloatKind::F32 {
                for (line, bytes) in self.words[first..].iter_mut().zip(row.chunks_exact(4)) {
                    line.0[4 * lane..][..4].copy_from_slice(bytes);
                }
            } else {
                for (halves, bytes) in self.halves[first..].iter_mut().zip(row.chunks_exact(2)) {
                    halves.0[lane] = u16::from_le_bytes([bytes[0], bytes[1]]);
                }
            }
            self.filled_rows += 1;
        }
    }

    /// Reads a row as f32.
    pub(super) fn row(&self, row: usize, weights: &mut [f32]) {
        let (first, lane) = (row / PANEL * self.columns, row % PANEL);
        for (column, weight) in (first..).zip(weights) {
            *weight = match self.kind {
                FloatKind::F32 => cast_slice(&self.words[column].0)[lane],
                FloatKind::F16 => f16::from_bits(self.halves[column].0[lane]).to_f32(),
                FloatKind::BF16 => bf16_to_f32(&self.halves[column])[lane],
            };
        }
    }

    /// Bytes that this matrix takes.
    pub(super) fn size_bytes(&self) -> u64 {
        (size_of_val(&*self.words) + size_of_val(&*self.halves)) as u64
    }
}

/// Widens sixteen bfloat16 numbers.
#[inline(always)]
pub(super) fn bf16_to_f32(halves: &Halves) -> [f32; PANEL] {
    let mut numbers = [0.0; PANEL];
    for (number, bits) in numbers.iter_mut().zip(halves.0) {
        *number = f32::from_bits(u32::from(bits) << 16);
    }
    numbers
}

/// Defines `float_products`, compiled with the given `target_feature` attribute.
macro_rules! float_products {
    ($(#[$instructions:meta])*) => {
        /// Multiplies the panels `panels` by rows of inputs, which are padded to whole units and
        /// contiguous: `y[row][16 · i + lane]` is the output of row `lane` of the range's panel
        /// `i`.
        $(#[$instructions])*
        pub(super) fn float_products(
            matrix: &FloatPanels,
            panels: std::ops::Range<usize>,
            inputs: &[f32],
            y: &mut [&mut [f32]],
        ) {
            match matrix.kind {
                FloatKind::F32 => all_float_panels::<32>(matrix, panels, inputs, y),
                FloatKind::F16 => all_float_panels::<16>(matrix, panels, inputs, y),
                FloatKind::BF16 => all_float_panels::<8>(matrix, panels, inputs, y),
            }
        }

        /// `float_products` for F32 (`KIND` 32), F16 (16) or BF16 (8).
        $(#[$instructions])*
        #[inline]
        fn all_float_panels<const KIND: usize>(
            matrix: &FloatPanels,
            panels: std::ops::Range<usize>,
            inputs: &[f32],
            y: &mut [&mut [f32]],
        ) {
            let full = y.len() / FLOAT_ROWS * FLOAT_ROWS;
            for (index, panel) in panels.enumerate() {
                for row in (0..full).step_by(FLOAT_ROWS) {
                    float_tile::<KIND, FLOAT_ROWS, 1>(matrix, panel, inputs, row, index * PANEL, y);
                }
                for row in full..y.len() {
                    float_tile::<KIND, 1, 4>(matrix, panel, inputs, row, index * PANEL, y);
                }
            }
        }

        /// Multiplies one panel by `N` input rows from `first` on and writes their outputs from
        /// `column` on. Within a unit each output has `CHAINS` independent sums, to hide the
        /// latency of additions.
        $(#[$instructions])*
        #[inline]
        fn float_tile<const KIND: usize, const N: usize, const CHAINS: usize>(
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
                    let weights = match KIND {
                        32 => load_floats(must_cast(words[panel * units + unit][i])),
                        16 => f16_to_f32(&half_words[panel * units + unit][i]),
                        _ => load_floats(bf16_to_f32(&half_words[panel * units + unit][i])),
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
