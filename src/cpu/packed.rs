//! A weight matrix for products of whole numbers: panels of sixteen rows, side by side, so that
//! one load brings four weights of each.
//!
//! A panel is a row of blocks, one for each 32 columns. A block's quants are lines of 64 bytes, four
//! columns of sixteen rows each: quants of four bits as four lines, columns `4k ..` in the low and
//! `16 + 4k ..` in the high nibbles of line `k`; of eight bits as eight lines. Its scales are halves,
//! one a row: a line of scales, or one for each half of the columns, then one of offsets where there
//! are any; or curves, where quants are bent. They are relative to a power of two, one a row: so sixteen bits are enough for every
//! format.

use bytemuck::{Pod, Zeroable};
use half::f16;

use super::zeros;
use crate::error::Result;
use crate::formats::{Curve, Format, IntegerUnit, Integers, UNIT};

/// Rows of a panel.
pub(crate) const PANEL: usize = 16;
/// Columns that lie together in a line.
pub(crate) const QUAD: usize = 4;
/// The exponent that the greatest scale of a row has.
const EXPONENT: i32 = 14;

/// Four columns of a panel's rows.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [u8; PANEL * QUAD]);

/// A number in half precision for each row of a panel, or a curve.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C, align(32))]
pub(crate) struct Halves(pub(crate) [u16; PANEL]);

/// The matrix.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) integers: Integers,
    pub(crate) columns: usize,
    /// Panel by panel, block by block.
    pub(crate) lines: Vec<Line>,
    /// Panel by panel, block by block.
    pub(crate) scales: Vec<Halves>,
    /// What a row's scales and offsets are relative to, panel by panel.
    pub(crate) factors: Vec<[f32; PANEL]>,
    /// Rows that are there.
    filled: usize,
}

/// 2 to the power of so much, if that is a normal number.
fn power_of_two(exponent: i32) -> f32 {
    f32::from_bits(((exponent + 127).clamp(1, 254) as u32) << 23)
}

impl Packed {
    /// A matrix without rows yet.
    pub(crate) fn new(name: &str, integers: Integers, rows: usize, columns: usize) -> Result<Self> {
        let mut packed = Self::empty(integers, columns);
        let [panels, lines, scales] = packed.counts(rows);
        packed.factors = zeros(name, panels)?;
        packed.lines = zeros(name, lines)?;
        packed.scales = zeros(name, scales)?;
        Ok(packed)
    }

    fn empty(integers: Integers, columns: usize) -> Self {
        Self {
            integers,
            columns,
            lines: Vec::new(),
            scales: Vec::new(),
            factors: Vec::new(),
            filled: 0,
        }
    }

    /// Panels of so many rows, their lines, and their lines of scales.
    fn counts(&self, rows: usize) -> [u64; 3] {
        let panels = rows.div_ceil(PANEL) as u64;
        let blocks = panels * self.blocks() as u64;
        [panels, blocks * self.block_lines() as u64, blocks * self.block_scales() as u64]
    }

    /// Bytes of such a matrix.
    pub(crate) fn bytes_of(integers: Integers, rows: usize, columns: usize) -> u64 {
        let counts = Self::empty(integers, columns).counts(rows);
        let sizes = [size_of::<[f32; PANEL]>(), size_of::<Line>(), size_of::<Halves>()];
        counts.iter().zip(sizes).map(|(count, size)| count * size as u64).sum()
    }

    /// Bytes of this one.
    pub(crate) fn size_bytes(&self) -> u64 {
        let all =
            [size_of_val(&*self.factors), size_of_val(&*self.lines), size_of_val(&*self.scales)];
        all.iter().map(|size_bytes| *size_bytes as u64).sum()
    }

    /// Lines of a block.
    pub(crate) fn block_lines(&self) -> usize {
        self.integers.bits as usize
    }

    /// Lines of scales and offsets of a block.
    pub(crate) fn block_scales(&self) -> usize {
        let has_offsets = self.integers.zero.is_none() && !self.integers.is_bent;
        UNIT / self.integers.group + usize::from(has_offsets)
    }

    /// Blocks of a panel.
    pub(crate) fn blocks(&self) -> usize {
        self.columns.div_ceil(UNIT)
    }

    /// Appends the next stored rows.
    pub(crate) fn append(&mut self, format: Format, row_bytes: usize, stored: &[u8]) {
        let mut units = vec![IntegerUnit::ZERO; self.blocks()];
        for row in stored.chunks_exact(row_bytes) {
            format.rules().integer_units(row, &mut units);
            self.put(&units);
        }
    }

    /// The next row.
    fn put(&mut self, units: &[IntegerUnit]) {
        let (panel, lane) = (self.filled / PANEL, self.filled % PANEL);
        let greatest = units.iter().flat_map(|unit| [unit.scales[0], unit.scales[1], unit.offset]);
        let greatest = greatest.fold(0.0f32, |greatest, number| greatest.max(number.abs()));
        let exponent =
            if greatest > 0.0 { (greatest.to_bits() >> 23) as i32 - 127 } else { EXPONENT };
        let (factor, over) = (power_of_two(exponent - EXPONENT), power_of_two(EXPONENT - exponent));
        self.factors[panel][lane] = factor;
        let (block_lines, block_scales, blocks) =
            (self.block_lines(), self.block_scales(), self.blocks());
        let lines = &mut self.lines[panel * blocks * block_lines..][..blocks * block_lines];
        let scales = &mut self.scales[panel * blocks * block_scales..][..blocks * block_scales];
        let blocks = lines.chunks_exact_mut(block_lines).zip(scales.chunks_exact_mut(block_scales));
        let groups = UNIT / self.integers.group;
        for (unit, (lines, scales)) in units.iter().zip(blocks) {
            let numbers = unit.scales[..groups].iter().chain([&unit.offset]);
            for (halves, number) in scales.iter_mut().zip(numbers) {
                halves.0[lane] = f16::from_f32(number * over).to_bits();
            }
            if self.integers.is_bent {
                scales[0].0[lane] = unit.curve.0;
            }
            let (low, high) = unit.quants.split_at(if block_lines == 4 { UNIT / 2 } else { UNIT });
            for (line, quad) in lines.iter_mut().zip(low.chunks_exact(QUAD)) {
                line.0[QUAD * lane..][..QUAD].copy_from_slice(quad);
            }
            for (line, quad) in lines.iter_mut().zip(high.chunks_exact(QUAD)) {
                for (byte, quant) in line.0[QUAD * lane..].iter_mut().zip(quad) {
                    *byte |= quant << 4;
                }
            }
        }
        self.filled += 1;
    }

    /// The weights of a row.
    pub(crate) fn row(&self, row: usize, weights: &mut [f32]) {
        let (panel, lane) = (row / PANEL, row % PANEL);
        let factor = self.factors[panel][lane];
        let (block_lines, block_scales, blocks) =
            (self.block_lines(), self.block_scales(), self.blocks());
        let lines = self.lines[panel * blocks * block_lines..].chunks_exact(block_lines);
        let scales = self.scales[panel * blocks * block_scales..].chunks_exact(block_scales);
        let zero = f32::from(self.integers.zero.unwrap_or(0));
        for (weights, (lines, scales)) in weights.chunks_mut(UNIT).zip(lines.zip(scales)) {
            let [scale, bend, shift] = Curve(scales[0].0[lane]).numbers();
            let number = |index: usize| f16::from_bits(scales[index].0[lane]).to_f32() * factor;
            let offset = if self.integers.zero.is_none() { number(block_scales - 1) } else { 0.0 };
            for (column, weight) in weights.iter_mut().enumerate() {
                let byte = lines[column / QUAD % block_lines].0[QUAD * lane + column % QUAD];
                let quant = match block_lines {
                    4 => (byte >> (column / (UNIT / 2) * 4)) & 15,
                    _ => byte,
                };
                let u = f32::from(quant) - 7.5;
                *weight = match self.integers.is_bent {
                    true => scale * (u + bend * u * u * u + shift),
                    false => {
                        number(column / self.integers.group) * (f32::from(quant) - zero) + offset
                    }
                };
            }
        }
    }
}
