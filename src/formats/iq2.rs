//! IQ2_XXS, IQ2_XS and IQ2_S: super-blocks of 256 weights, sixteen groups of 16 with a four-bit
//! scale each; eight magnitudes at a time are an index into a code book;
//! weight = ±(8, 25, 43) · d · (2 · scale + 1) / 8. Source: ggml. In memory the six levels are
//! three-bit quants, at 3.31 bits per weight with the same values: a code book would take 4 KB of
//! every workgroup's memory.
//!
//! Stored block of IQ2_XXS, 66 bytes: f16 d, and per 32 weights four bytes of indices and a word
//! with four codes of signs ([`signs`]) and one scale. Of IQ2_XS, 74 bytes: f16 d, 32 × u16 with
//! nine bits of index and a code of signs, eight bytes of scales, low nibble first. Of IQ2_S, 82
//! bytes: f16 d, 32 low bytes of indices, 32 bytes of signs, eight bytes with the high bit pairs of
//! indices, eight bytes of scales.
//!
//! Plane 0 (`vec4<u32>`, one per two units): low bit pairs of the quants, two words per unit,
//! [`bits::put_pairs`]; levels in ascending order. Plane 1 (`u32`): in each row ten words per block
//! (a word of high bits per unit, bit `8i + k` for weight `4k + i`; two words of scales, a byte per
//! unit, its first scale in the low nibble), and after the last block f16 d, two per word.

use super::bits;
use super::integers::{IntegerQuants, IntegerUnit};
use super::iq_grids;
use super::iq3::signs;
use super::q4_k::WEIGHTS;
use super::rules::WeightFormat;

/// Levels of the quants; shaders/formats/iq2.wgsl computes them.
const LEVELS: [i8; 16] = [-43, -25, -8, 8, 25, 43, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// Words of plane 1 per super-block, without d.
const BLOCK_WORDS: usize = 10;
/// Byte offset, in these, of scales.
const PLANE_SCALES_AT: usize = 32;

/// One of the three formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Iq2 {
    Xxs,
    Xs,
    S,
}

pub(super) const XXS: Iq2 = Iq2::Xxs;
pub(super) const XS: Iq2 = Iq2::Xs;
pub(super) const S: Iq2 = Iq2::S;

impl Iq2 {
    /// Magnitudes of eight weights, two bits each, and their signs, 1 for minus.
    fn eight(self, block: &[u8], unit: usize, k: usize) -> (u16, u32) {
        match self {
            Iq2::Xxs => {
                let pair = &block[2 + 8 * unit..];
                let code = bits::word(pair, 1) >> (7 * k);
                (iq_grids::IQ2_XXS[usize::from(pair[k])], signs(code))
            }
            Iq2::Xs => {
                let at = 2 + 2 * (4 * unit + k);
                let code = u16::from_le_bytes([block[at], block[at + 1]]);
                (iq_grids::IQ2_XS[usize::from(code & 511)], signs(u32::from(code >> 9)))
            }
            Iq2::S => {
                let high = usize::from((block[66 + unit] >> (2 * k)) & 3);
                let index = usize::from(block[2 + 4 * unit + k]) | (high << 8);
                (iq_grids::IQ2_S[index], u32::from(block[34 + 4 * unit + k]))
            }
        }
    }

    /// Indices of levels of a unit's weights.
    fn quants(self, block: &[u8], unit: usize) -> [u8; 32] {
        let mut quants = [0; 32];
        for (k, eight) in quants.chunks_exact_mut(8).enumerate() {
            let (magnitudes, signs) = self.eight(block, unit, k);
            for (i, quant) in eight.iter_mut().enumerate() {
                let magnitude = ((magnitudes >> (2 * i)) & 3) as u8;
                *quant = if (signs >> i) & 1 == 1 { 2 - magnitude } else { 3 + magnitude };
            }
        }
        quants
    }

    /// Four-bit scales of a unit, the first in the low nibble.
    fn scale_bits(self, block: &[u8], unit: usize) -> u8 {
        match self {
            Iq2::Xxs => (bits::word(&block[2..], 2 * unit + 1) >> 28) as u8 * 0x11,
            Iq2::Xs => block[66 + unit],
            Iq2::S => block[74 + unit],
        }
    }

    /// Scales of a unit's halves.
    fn scales(self, block: &[u8], unit: usize) -> [f32; 2] {
        let (d, scales) = (bits::half_at(block, 0), self.scale_bits(block, unit));
        [scales & 15, scales >> 4].map(|scale| d * f32::from(2 * scale + 1) * 0.125)
    }
}

impl WeightFormat for Iq2 {
    fn block_weights(&self) -> usize {
        WEIGHTS
    }

    fn block_bytes(&self) -> usize {
        match self {
            Iq2::Xxs => 66,
            Iq2::Xs => 74,
            Iq2::S => 82,
        }
    }

    fn dequantize_row(&self, stored: &[u8], out: &mut [f32]) {
        let blocks = stored.chunks_exact(self.block_bytes());
        for (values, block) in out.chunks_exact_mut(WEIGHTS).zip(blocks) {
            for (unit, values) in values.chunks_exact_mut(32).enumerate() {
                let scales = self.scales(block, unit);
                let quants = self.quants(block, unit);
                for (i, (value, quant)) in values.iter_mut().zip(quants).enumerate() {
                    *value = scales[i / 16] * f32::from(LEVELS[usize::from(quant)]);
                }
            }
        }
    }

    fn integers(&self) -> Option<IntegerQuants> {
        let group = if *self == Iq2::Xxs { 32 } else { 16 };
        Some(IntegerQuants { bits: 3, ..IntegerQuants::table(&LEVELS, group)? })
    }

    fn integer_units(&self, stored: &[u8], units: &mut [IntegerUnit]) {
        let blocks = stored.chunks_exact(self.block_bytes());
        for (units, block) in units.chunks_mut(8).zip(blocks) {
            for (index, unit) in units.iter_mut().enumerate() {
                *unit = IntegerUnit::halves(self.quants(block, index), self.scales(block, index));
            }
        }
    }

    fn plane_row_bytes(&self, columns: usize) -> Vec<usize> {
        let units = bits::units(columns);
        let blocks = units.div_ceil(8);
        vec![units * bits::PAIRS, blocks * BLOCK_WORDS * 4 + bits::halves_bytes(blocks)]
    }

    fn repack_row(&self, _columns: usize, stored: &[u8], planes: &mut [&mut [u8]]) {
        let [pairs, others] = planes else { return };
        let blocks = stored.chunks_exact(self.block_bytes());
        let (others, d) = others.split_at_mut(blocks.len() * BLOCK_WORDS * 4);
        bits::put_halves(d, blocks.clone(), 0);
        let planes = pairs.chunks_exact_mut(8 * bits::PAIRS);
        let planes = planes.zip(others.chunks_exact_mut(4 * BLOCK_WORDS));
        for ((pairs, others), block) in planes.zip(blocks) {
            for (unit, pairs) in pairs.chunks_exact_mut(bits::PAIRS).enumerate() {
                let quants = self.quants(block, unit);
                bits::put_pairs(pairs, bits::eights(&quants));
                bits::put_word(others, unit, bits::spread_bytes(&quants, 2));
                others[PLANE_SCALES_AT + unit] = self.scale_bits(block, unit);
            }
        }
    }

    fn is_finite(&self, stored: &[u8]) -> bool {
        bits::halves_are_finite(stored, self.block_bytes(), [0])
    }

    fn quant_bits(&self) -> Option<u32> {
        Some(8)
    }

    fn shader(&self) -> &'static str {
        include_wgsl!("../../shaders/formats/iq2.wgsl")
    }
}
