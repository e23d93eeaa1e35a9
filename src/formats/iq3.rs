//! IQ3_S and IQ3_XXS: super-blocks of 256 weights, eight groups of 32 with a four-bit scale each;
//! four magnitudes at a time are an index into a code book. Source: ggml. In memory they are
//! nibbles, at 4.19 bits per weight with the same values: a code book would take 2 KB of every
//! workgroup's memory.
//!
//! Stored block of IQ3_S, 110 bytes: f16 d, 64 low bytes of indices, eight bytes with their highest
//! bits, 32 bytes of signs, four bytes of scales, low nibble first;
//! weight = ±(1, 3, 5 … 15) · d · (2 · scale + 1). Stored block of IQ3_XXS, 98 bytes: f16 d, 64
//! indices, and per group a word with four seven-bit codes of signs ([`signs`]) and the scale;
//! weight = ±(4, 12, 20 … 52, 62) · d · (2 · scale + 1) / 4.
//!
//! Plane 0 (`vec4<u32>`, one per unit): nibbles in the order of [`bits`], levels in ascending
//! order. Plane 1 (`u32`): in each row one word per block with the scales, a nibble per unit, and
//! after the last block f16 d, two per word.

use super::bits;
use super::integers::{IntegerQuants, IntegerUnit};
use super::iq_grids;
use super::q4_k::{BLOCK_NIBBLES, WEIGHTS};
use super::rules::WeightFormat;

/// Levels of IQ3_S and IQ3_XXS; shaders/formats/iq3.wgsl computes them.
const S_LEVELS: [i8; 16] = [-15, -13, -11, -9, -7, -5, -3, -1, 1, 3, 5, 7, 9, 11, 13, 15];
const XXS_LEVELS: [i8; 16] = [-62, -52, -44, -36, -28, -20, -12, -4, 4, 12, 20, 28, 36, 44, 52, 62];
/// Byte offsets of the parts of a stored block, after d: indices in both formats; highest bits of
/// indices, signs and scales in IQ3_S; signs and scales in IQ3_XXS.
const INDICES_AT: usize = 2;
const HIGH_AT: usize = 66;
const SIGNS_AT: usize = 74;
const SCALES_AT: usize = 106;
const WORDS_AT: usize = 66;

/// One of the two formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Iq3 {
    S,
    Xxs,
}

pub(super) const S: Iq3 = Iq3::S;
pub(super) const XXS: Iq3 = Iq3::Xxs;

/// Eight signs, 1 for minus, from a code of seven: the eighth makes their sum even.
pub(super) fn signs(code: u32) -> u32 {
    let code = code & 127;
    code | ((code.count_ones() & 1) << 7)
}

impl Iq3 {
    /// Levels of the quants.
    fn levels(self) -> &'static [i8; 16] {
        match self {
            Iq3::S => &S_LEVELS,
            Iq3::Xxs => &XXS_LEVELS,
        }
    }

    /// Indices of levels of a unit's weights.
    fn quants(self, block: &[u8], unit: usize) -> [u8; 32] {
        let mut quants = [0; 32];
        for (k, quad) in quants.chunks_exact_mut(4).enumerate() {
            let index = usize::from(block[INDICES_AT + 8 * unit + k]);
            let (magnitudes, signs) = match self {
                Iq3::S => {
                    let high = usize::from((block[HIGH_AT + unit] >> k) & 1);
                    let signs = u32::from(block[SIGNS_AT + 4 * unit + k / 2]);
                    (iq_grids::IQ3_S[index | (high << 8)], signs)
                }
                Iq3::Xxs => {
                    let word = bits::word(&block[WORDS_AT..], unit);
                    (iq_grids::IQ3_XXS[index], signs(word >> (7 * (k / 2))))
                }
            };
            for (i, quant) in quad.iter_mut().enumerate() {
                let magnitude = ((magnitudes >> (3 * i)) & 7) as u8;
                let is_negative = (signs >> (4 * (k % 2) + i)) & 1 == 1;
                *quant = if is_negative { 7 - magnitude } else { 8 + magnitude };
            }
        }
        quants
    }

    /// Four-bit scale of a unit.
    fn scale_bits(self, block: &[u8], unit: usize) -> u32 {
        match self {
            Iq3::S => u32::from(block[SCALES_AT + unit / 2] >> (unit % 2 * 4)) & 15,
            Iq3::Xxs => bits::word(&block[WORDS_AT..], unit) >> 28,
        }
    }

    /// Scale of a unit.
    fn scale(self, block: &[u8], unit: usize) -> f32 {
        let factor = if self == Iq3::S { 1.0 } else { 0.25 };
        bits::half_at(block, 0) * (2 * self.scale_bits(block, unit) + 1) as f32 * factor
    }
}

impl WeightFormat for Iq3 {
    fn block_weights(&self) -> usize {
        WEIGHTS
    }

    fn block_bytes(&self) -> usize {
        match self {
            Iq3::S => 110,
            Iq3::Xxs => 98,
        }
    }

    fn dequantize_row(&self, stored: &[u8], out: &mut [f32]) {
        let blocks = stored.chunks_exact(self.block_bytes());
        for (values, block) in out.chunks_exact_mut(WEIGHTS).zip(blocks) {
            for (unit, values) in values.chunks_exact_mut(32).enumerate() {
                let scale = self.scale(block, unit);
                for (value, quant) in values.iter_mut().zip(self.quants(block, unit)) {
                    *value = scale * f32::from(self.levels()[usize::from(quant)]);
                }
            }
        }
    }

    fn integers(&self) -> Option<IntegerQuants> {
        IntegerQuants::table(self.levels(), 32)
    }

    fn integer_units(&self, stored: &[u8], units: &mut [IntegerUnit]) {
        let blocks = stored.chunks_exact(self.block_bytes());
        for (units, block) in units.chunks_mut(8).zip(blocks) {
            for (index, unit) in units.iter_mut().enumerate() {
                let quants = self.quants(block, index);
                *unit = IntegerUnit::new(quants, self.scale(block, index), 0.0);
            }
        }
    }

    fn plane_row_bytes(&self, columns: usize) -> Vec<usize> {
        let units = bits::units(columns);
        let blocks = units.div_ceil(8);
        vec![units * bits::NIBBLES, blocks * 4 + bits::halves_bytes(blocks)]
    }

    fn repack_row(&self, _columns: usize, stored: &[u8], planes: &mut [&mut [u8]]) {
        let [nibbles, scales] = planes else { return };
        let blocks = stored.chunks_exact(self.block_bytes());
        let (scales, d) = scales.split_at_mut(blocks.len() * 4);
        bits::put_halves(d, blocks.clone(), 0);
        let planes = nibbles.chunks_exact_mut(BLOCK_NIBBLES).zip(scales.chunks_exact_mut(4));
        for ((nibbles, scales), block) in planes.zip(blocks) {
            let mut word = 0;
            for (unit, nibbles) in nibbles.chunks_exact_mut(bits::NIBBLES).enumerate() {
                bits::put_nibbles(nibbles, bits::eights(&self.quants(block, unit)));
                word |= self.scale_bits(block, unit) << (4 * unit);
            }
            bits::put_word(scales, 0, word);
        }
    }

    fn is_finite(&self, stored: &[u8]) -> bool {
        bits::halves_are_finite(stored, self.block_bytes(), [0])
    }

    fn quant_bits(&self) -> Option<u32> {
        Some(if *self == Iq3::S { 4 } else { 8 })
    }

    fn shader(&self) -> &'static str {
        include_wgsl!("../../shaders/formats/iq3.wgsl")
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        vec![("IQ3_XXS", if *self == Iq3::Xxs { 1.0 } else { 0.0 })]
    }
}
