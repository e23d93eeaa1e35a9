//! Weight matrix packed for integer dot products: panels of sixteen rows, interleaved so that one
//! load brings four columns of each row.
//!
//! A panel is a sequence of blocks, one per 32 columns. The quants of a block are 64-byte lines,
//! four columns of sixteen rows each. Quants of `B` bits take `B` lines: columns `4k …` are in line
//! `k % B`, at bit `k / B · B` of each byte. Three and six bits do not divide a byte: the last two
//! times four columns take what the others leave of the lines, see [`packed`].
//!
//! The scales of a block are lines of sixteen f16, one per row: one line, or one for each half of
//! the columns, then as many of offsets if the format has them; or one line of curves
//! ([`Levels::Cubic`]). Scales and offsets are relative to a power of two per row, so that f16
//! suffices for every format.

use bytemuck::{Pod, Zeroable, must_cast, must_cast_mut, must_cast_ref};
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

/// Times four columns of a block.
const QUADS: usize = UNIT / QUAD;

/// Packs the quants of a row's block, a word of bytes for four columns each, into the row's words
/// of the block's lines, as many as a quant has bits.
fn packed(q: [u32; QUADS], bits: usize) -> [u32; QUADS] {
    let pair = |word: u32, low: u32| ((word >> low) & 0x0303_0303) << 6;
    let bit = |word: u32, shift: u32| ((word >> 2) & 0x0101_0101) << shift;
    let [first, second, third, fourth, fifth, sixth, a, b] = q;
    match bits {
        1 => {
            [(0..).zip(q).fold(0, |word, (shift, quad)| word | quad << shift), 0, 0, 0, 0, 0, 0, 0]
        }
        2 => [
            first | third << 2 | fifth << 4 | a << 6,
            second | fourth << 2 | sixth << 4 | b << 6,
            0,
            0,
            0,
            0,
            0,
            0,
        ],
        3 => [
            first | second << 3 | pair(a, 0),
            third | fourth << 3 | pair(b, 0),
            fifth | sixth << 3 | bit(a, 6) | bit(b, 7),
            0,
            0,
            0,
            0,
            0,
        ],
        4 => [first | fifth << 4, second | sixth << 4, third | a << 4, fourth | b << 4, 0, 0, 0, 0],
        6 => [
            first | pair(a, 0),
            second | pair(a, 2),
            third | pair(a, 4),
            fourth | pair(b, 0),
            fifth | pair(b, 2),
            sixth | pair(b, 4),
            0,
            0,
        ],
        _ => q,
    }
}

/// Inverse of [`packed`].
fn unpacked(lines: [u32; QUADS], bits: usize) -> [u32; QUADS] {
    let mask = 0x0101_0101 * (0xff >> (8 - bits));
    let pair = |line: usize, low: u32| ((lines[line] >> 6) & 0x0303_0303) << low;
    let bit = |shift: u32| ((lines[2] >> shift) & 0x0101_0101) << 2;
    std::array::from_fn(|quad| match (bits, quad) {
        (3, 0..6) => (lines[quad / 2] >> (3 * (quad % 2))) & mask,
        (3, _) => pair(quad - 6, 0) | bit(quad as u32),
        (6, 0..6) => lines[quad] & mask,
        (6, _) => [0, 1, 2].map(|part| pair(3 * (quad - 6) + part, 2 * part as u32)).iter().sum(),
        _ => (lines[quad % bits] >> (quad / bits * bits)) & mask,
    })
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
        let mut greatest = 0.0f32;
        for unit in units {
            for scale in [unit.scales, unit.offsets].as_flattened() {
                greatest = greatest.max(scale.abs());
            }
        }
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
            let words = packed(must_cast(unit.quants), block_lines);
            for (line, word) in lines.iter_mut().zip(words) {
                let line: &mut [u32; PANEL] = must_cast_mut(line);
                line[lane] = word;
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
            let mut words = [0; QUADS];
            for (word, line) in words.iter_mut().zip(lines) {
                let line: &[u32; PANEL] = must_cast_ref(line);
                *word = line[lane];
            }
            let quants: [u8; UNIT] = must_cast(unpacked(words, block_lines));
            for (column, (weight, quant)) in weights.iter_mut().zip(quants).enumerate() {
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
