//! Weight matrix packed for integer dot products: panels of sixteen rows, interleaved so that one
//! load brings four columns of each row.
//!
//! A panel is a sequence of blocks, one per 32 columns. The quants of a block are 64-byte lines,
//! four columns of sixteen rows each. Quants of `B` bits take `B` lines: columns `4k …` are in line
//! `k % B`, at bit `k / B · B` of each byte. The scales of a block are lines of sixteen f16, one
//! per row: one line, or one for each half of the columns, then as many of offsets if the format
//! has them; or one line of curves ([`Levels::Cubic`]). Scales and offsets are relative to a power
//! of two per row, so that f16 suffices for every format.

use bytemuck::{Pod, Zeroable};
use half::f16;

use super::allocation::try_zeroed;
use crate::error::Result;
use crate::formats::{Curve, Format, IntegerQuants, IntegerUnit, Levels, UNIT};

/// Rows of a panel.
pub(crate) const PANEL: usize = 16;
/// Adjacent columns of a row in a line.
pub(crate) const QUAD: usize = 4;
/// Exponent of a row's largest scale, relative to the row's factor.
const EXPONENT: i32 = 14;

/// Four columns of a panel's sixteen rows, one byte each: a cache line.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [u8; PANEL * QUAD]);

/// Sixteen bits per row of a panel: an f16, a bfloat16 or a [`Curve`].
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C, align(32))]
pub(crate) struct Halves(pub(crate) [u16; PANEL]);

/// A weight matrix of integer quants, packed into panels.
#[derive(Debug)]
pub(crate) struct IntegerPanels {
    pub(crate) integers: IntegerQuants,
    pub(crate) columns: usize,
    /// Quants: `[panels, blocks, lines of a block]`.
    pub(crate) lines: Vec<Line>,
    /// Scales and offsets, or curves: `[panels, blocks, scale lines of a block]`.
    pub(crate) scales: Vec<Halves>,
    /// Power of two that multiplies a row's scales and offsets: `[panels, PANEL]`.
    pub(crate) factors: Vec<[f32; PANEL]>,
    /// Rows appended so far.
    filled_rows: usize,
}

/// `2^exponent`, clamped to normal numbers.
fn power_of_two(exponent: i32) -> f32 {
    f32::from_bits(((exponent + 127).clamp(1, 254) as u32) << 23)
}

impl IntegerPanels {
    /// Allocates `rows` rows of `columns` weights, to be appended; `out-of-memory` if that fails.
    pub(crate) fn new(
        name: &str,
        integers: IntegerQuants,
        rows: usize,
        columns: usize,
    ) -> Result<Self> {
        let mut panels = Self::empty(integers, columns);
        let [factors, lines, scales] = panels.counts(rows);
        panels.factors = try_zeroed(name, factors)?;
        panels.lines = try_zeroed(name, lines)?;
        panels.scales = try_zeroed(name, scales)?;
        Ok(panels)
    }

    fn empty(integers: IntegerQuants, columns: usize) -> Self {
        let (lines, scales, factors) = Default::default();
        Self { integers, columns, lines, scales, factors, filled_rows: 0 }
    }

    /// Numbers of panels, of lines and of scale lines of `rows` rows.
    fn counts(&self, rows: usize) -> [u64; 3] {
        let panels = rows.div_ceil(PANEL) as u64;
        let blocks = panels * self.blocks() as u64;
        [panels, blocks * self.block_lines() as u64, blocks * self.block_scales() as u64]
    }

    /// Bytes that a matrix of `rows` × `columns` takes.
    pub(crate) fn bytes_of(integers: IntegerQuants, rows: usize, columns: usize) -> u64 {
        let counts = Self::empty(integers, columns).counts(rows);
        let sizes = [size_of::<[f32; PANEL]>(), size_of::<Line>(), size_of::<Halves>()];
        counts.iter().zip(sizes).map(|(count, size)| count * size as u64).sum()
    }

    /// Bytes that this matrix takes.
    pub(crate) fn size_bytes(&self) -> u64 {
        let all =
            [size_of_val(&*self.factors), size_of_val(&*self.lines), size_of_val(&*self.scales)];
        all.iter().map(|size_bytes| *size_bytes as u64).sum()
    }

    /// Lines per block.
    pub(crate) fn block_lines(&self) -> usize {
        self.integers.bits as usize
    }

    /// Lines of scales, and of offsets if any, per block.
    pub(crate) fn block_scales(&self) -> usize {
        UNIT / self.integers.group * (1 + usize::from(self.integers.has_offsets()))
    }

    /// Blocks per panel.
    pub(crate) fn blocks(&self) -> usize {
        self.columns.div_ceil(UNIT)
    }

    /// Lines and scale lines of each block of a panel. `block_lines` is [`Self::block_lines`], a
    /// constant in the micro-kernels.
    #[inline(always)]
    pub(crate) fn panel_blocks(
        &self,
        panel: usize,
        block_lines: usize,
    ) -> impl Iterator<Item = (&[Line], &[Halves])> {
        let (blocks, block_scales) = (self.blocks(), self.block_scales());
        let lines = &self.lines[panel * blocks * block_lines..][..blocks * block_lines];
        let scales = &self.scales[panel * blocks * block_scales..][..blocks * block_scales];
        lines.chunks_exact(block_lines).zip(scales.chunks_exact(block_scales))
    }

    /// Packs and appends the next stored rows.
    pub(crate) fn append(&mut self, format: Format, row_bytes: usize, stored: &[u8]) {
        let mut units = vec![IntegerUnit::ZERO; self.blocks()];
        for row in stored.chunks_exact(row_bytes) {
            format.rules().integer_units(row, &mut units);
            self.append_row(&units);
        }
    }

    /// Packs and appends one row, given as [`IntegerPanels::blocks`] units.
    pub(crate) fn append_row(&mut self, units: &[IntegerUnit]) {
        let (panel, lane) = (self.filled_rows / PANEL, self.filled_rows % PANEL);
        let greatest = units.iter().flat_map(|unit| unit.scales.into_iter().chain(unit.offsets));
        let greatest = greatest.fold(0.0f32, |greatest, scale| greatest.max(scale.abs()));
        let exponent =
            if greatest > 0.0 { (greatest.to_bits() >> 23) as i32 - 127 } else { EXPONENT };
        let (factor, inverse) =
            (power_of_two(exponent - EXPONENT), power_of_two(EXPONENT - exponent));
        self.factors[panel][lane] = factor;
        let (block_lines, block_scales, blocks) =
            (self.block_lines(), self.block_scales(), self.blocks());
        let lines = &mut self.lines[panel * blocks * block_lines..][..blocks * block_lines];
        let scales = &mut self.scales[panel * blocks * block_scales..][..blocks * block_scales];
        let blocks = lines.chunks_exact_mut(block_lines).zip(scales.chunks_exact_mut(block_scales));
        let groups = UNIT / self.integers.group;
        for (unit, (lines, scales)) in units.iter().zip(blocks) {
            let values = unit.scales[..groups].iter().chain(&unit.offsets);
            for (halves, value) in scales.iter_mut().zip(values) {
                halves.0[lane] = f16::from_f32(value * inverse).to_bits();
            }
            if self.integers.levels == Levels::Cubic {
                scales[0].0[lane] = unit.curve.0;
            }
            // The first field of each line is written, the others are added.
            let (first, others) = unit.quants.split_at(QUAD * block_lines);
            for (line, quad) in lines.iter_mut().zip(first.chunks_exact(QUAD)) {
                line.0[QUAD * lane..][..QUAD].copy_from_slice(quad);
            }
            for (field, quants) in (1..).zip(others.chunks_exact(QUAD * block_lines)) {
                for (line, quad) in lines.iter_mut().zip(quants.chunks_exact(QUAD)) {
                    for (byte, quant) in line.0[QUAD * lane..].iter_mut().zip(quad) {
                        *byte |= quant << (field * block_lines);
                    }
                }
            }
        }
        self.filled_rows += 1;
    }

    /// Dequantizes a row.
    pub(crate) fn row(&self, row: usize, weights: &mut [f32]) {
        let (panel, lane) = (row / PANEL, row % PANEL);
        let factor = self.factors[panel][lane];
        let (block_lines, groups) = (self.block_lines(), UNIT / self.integers.group);
        let blocks = self.panel_blocks(panel, block_lines);
        let zero_point = f32::from(self.integers.zero_point.unwrap_or(0));
        for (weights, (lines, scales)) in weights.chunks_mut(UNIT).zip(blocks) {
            let [scale, bend, shift] = Curve(scales[0].0[lane]).scale_bend_shift();
            let value = |line: usize| f16::from_bits(scales[line].0[lane]).to_f32() * factor;
            for (column, weight) in weights.iter_mut().enumerate() {
                let (line, field) = (column / QUAD % block_lines, column / QUAD / block_lines);
                let byte = lines[line].0[QUAD * lane + column % QUAD];
                let quant = (byte >> (field * block_lines)) & (0xff >> (8 - block_lines));
                let group = column / self.integers.group;
                let group_scale = || value(group);
                *weight = match self.integers.levels {
                    Levels::Linear if self.integers.has_offsets() => {
                        group_scale() * f32::from(quant) + value(groups + group)
                    }
                    Levels::Linear => group_scale() * (f32::from(quant) - zero_point),
                    Levels::Cubic => {
                        let u = f32::from(quant) - 7.5;
                        scale * (u + bend * u * u * u + shift)
                    }
                    Levels::Table(table) => group_scale() * f32::from(table[usize::from(quant)]),
                    Levels::Signs => group_scale() * (2.0 * f32::from(quant) - 1.0),
                };
            }
        }
    }
}
