//! Weight matrix packed for integer dot products: panels of sixteen rows, interleaved so that one
//! load brings four columns of each row.
//!
//! A panel is a sequence of blocks, one per 32 columns. The quants of a block are 64-byte lines,
//! four columns of sixteen rows each. Quants of `B` bits take `B` lines: columns `4k …` are in line
//! `k % B`, at bit `k / B · B` of each byte. Three and six bits do not divide a byte: the last two
//! times four columns take what the others leave of the lines, see [`fields`].
//!
//! The scales of a block are lines of sixteen f16, one per row: one line, or one for each half of
//! the columns, then as many of offsets if the format has them; or one line of curves
//! ([`Levels::Cubic`]). Scales and offsets are relative to a power of two per row, so that f16
//! suffices for every format.

use bytemuck::{Pod, Zeroable, must_cast, must_cast_mut};
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

/// Bits of a byte that hold bits of a quant.
struct Field {
    /// Line of the byte.
    line: usize,
    /// Lowest bit in the byte.
    shift: usize,
    /// Lowest bit in the quant.
    low: usize,
    bits: usize,
}

/// Fields of the columns `4 · quad …` of a block, whose quants have `bits` bits.
fn fields(quad: usize, bits: usize) -> impl Iterator<Item = Field> {
    let whole = |line, shift| [Some(Field { line, shift, low: 0, bits }), None, None];
    let part = |line, shift, low, bits| Some(Field { line, shift, low, bits });
    let fields = match (bits, quad) {
        (3, 0..6) => whole(quad / 2, 3 * (quad % 2)),
        (3, _) => [part(quad - 6, 6, 0, 2), part(2, quad, 2, 1), None],
        (6, 0..6) => whole(quad, 0),
        (6, _) => [0, 1, 2].map(|index| part(3 * (quad - 6) + index, 6, 2 * index, 2)),
        _ => whole(quad % bits, quad / bits * bits),
    };
    fields.into_iter().flatten()
}

/// The lowest `bits` bits of a byte, 1 to 8.
fn mask(bits: usize) -> u8 {
    0xff >> (8 - bits)
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
        let fields = (0..UNIT / QUAD)
            .flat_map(|quad| fields(quad, block_lines).map(move |field| (quad, field)));
        let fields: Vec<_> = fields.collect();
        for (unit, (lines, scales)) in units.iter().zip(blocks) {
            let values = unit.scales[..groups].iter().chain(&unit.offsets);
            for (halves, value) in scales.iter_mut().zip(values) {
                halves.0[lane] = f16::from_f32(value * inverse).to_bits();
            }
            if self.integers.levels == Levels::Cubic {
                scales[0].0[lane] = unit.curve.0;
            }
            let quads: [u32; UNIT / QUAD] = must_cast(unit.quants);
            for (quad, Field { line, shift, low, bits }) in &fields {
                let line: &mut [u32; PANEL] = must_cast_mut(&mut lines[*line]);
                let mask = u32::from(mask(*bits)) * 0x0101_0101;
                // The line is zero before.
                line[lane] |= ((quads[*quad] >> low) & mask) << shift;
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
                let quant = fields(column / QUAD, block_lines).fold(0, |quant, field| {
                    let byte = lines[field.line].0[QUAD * lane + column % QUAD];
                    quant | (((byte >> field.shift) & mask(field.bits)) << field.low)
                });
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
