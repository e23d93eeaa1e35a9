//! Q2_K: super-blocks of 256 weights, sixteen groups of 16 two-bit quants with a four-bit scale and
//! a four-bit minimum each; weight = quant · (d · scale) − (dmin · minimum). Source: ggml.
//!
//! Stored block, 84 bytes: 16 bytes with a group's scale in the low and its minimum in the high
//! nibble, 64 bytes of quants, f16 d, f16 dmin. Each half of the block (128 weights) takes 32 bytes
//! of quants; unit `g` of the four in a half has its quants at bit `2g` of these.
//!
//! Plane 0 (`vec4<u32>`, one per two units): two words of bit pairs per unit, [`bits::put_pairs`].
//! Plane 1 (`u32`, five per block): the 16 bytes of scales and minima, then d and dmin.

use super::bits;
use super::integers::{IntegerQuants, IntegerUnit, Levels};
use super::q4_k::WEIGHTS;
use super::rules::WeightFormat;

const BYTES: usize = 84;
/// Words of plane 1 per super-block.
const BLOCK_WORDS: usize = 5;
/// Byte offsets of the parts of a stored block.
const QUANTS_AT: usize = 16;
const D_AT: usize = 80;
const DMIN_AT: usize = 82;

pub(super) struct Q2K;

/// The 32 bytes that hold a unit's quants of two bits, and their shift. `quants` are the 64 bytes
/// of a super-block.
pub(super) fn unit_pairs(quants: &[u8], unit: usize) -> (&[u8], usize) {
    (&quants[unit / 4 * 32..][..32], unit % 4 * 2)
}

/// Scale and minimum of a group.
fn scale_and_minimum(block: &[u8], group: usize) -> (f32, f32) {
    let (d, dmin) = (bits::half_at(block, D_AT), bits::half_at(block, DMIN_AT));
    (d * f32::from(block[group] & 15), dmin * f32::from(block[group] >> 4))
}

impl WeightFormat for Q2K {
    fn block_weights(&self) -> usize {
        WEIGHTS
    }

    fn block_bytes(&self) -> usize {
        BYTES
    }

    fn dequantize_row(&self, stored: &[u8], out: &mut [f32]) {
        for (values, block) in out.chunks_exact_mut(WEIGHTS).zip(stored.chunks_exact(BYTES)) {
            for (unit, values) in values.chunks_exact_mut(32).enumerate() {
                let (pairs, shift) = unit_pairs(&block[QUANTS_AT..], unit);
                for (i, (value, byte)) in values.iter_mut().zip(pairs).enumerate() {
                    let (scale, minimum) = scale_and_minimum(block, 2 * unit + i / 16);
                    *value = scale * f32::from((byte >> shift) & 3) - minimum;
                }
            }
        }
    }

    fn integers(&self) -> Option<IntegerQuants> {
        Some(IntegerQuants { bits: 2, levels: Levels::Linear, zero_point: None, group: 16 })
    }

    fn integer_units(&self, stored: &[u8], units: &mut [IntegerUnit]) {
        for (units, block) in units.chunks_mut(8).zip(stored.chunks_exact(BYTES)) {
            for (index, unit) in units.iter_mut().enumerate() {
                let (pairs, shift) = unit_pairs(&block[QUANTS_AT..], index);
                for (quant, byte) in unit.quants.iter_mut().zip(pairs) {
                    *quant = (byte >> shift) & 3;
                }
                for half in 0..2 {
                    let (scale, minimum) = scale_and_minimum(block, 2 * index + half);
                    (unit.scales[half], unit.offsets[half]) = (scale, -minimum);
                }
            }
        }
    }

    fn plane_row_bytes(&self, columns: usize) -> Vec<usize> {
        let units = bits::units(columns);
        vec![units * bits::PAIRS, units.div_ceil(8) * BLOCK_WORDS * 4]
    }

    fn repack_row(&self, _columns: usize, stored: &[u8], planes: &mut [&mut [u8]]) {
        let [pairs, scales] = planes else { return };
        let blocks = pairs.chunks_exact_mut(8 * bits::PAIRS);
        let blocks = blocks.zip(scales.chunks_exact_mut(4 * BLOCK_WORDS));
        for ((pairs, scales), block) in blocks.zip(stored.chunks_exact(BYTES)) {
            for (unit, pairs) in pairs.chunks_exact_mut(bits::PAIRS).enumerate() {
                let (stored, shift) = unit_pairs(&block[QUANTS_AT..], unit);
                bits::put_pairs(pairs, bits::eights(stored).map(|eight| eight >> shift));
            }
            scales[..QUANTS_AT].copy_from_slice(&block[..QUANTS_AT]);
            scales[QUANTS_AT..].copy_from_slice(&block[D_AT..]);
        }
    }

    fn is_finite(&self, stored: &[u8]) -> bool {
        bits::halves_are_finite(stored, BYTES, [D_AT, DMIN_AT])
    }

    fn quant_bits(&self) -> Option<u32> {
        Some(2)
    }

    fn shader(&self) -> &'static str {
        include_wgsl!("../../shaders/formats/q2_k.wgsl")
    }
}
