//! Q5_K: super-blocks of 256 weights, eight groups of 32 five-bit quants with a six-bit scale and
//! a six-bit minimum each; weight = quant · (d · scale) − (dmin · minimum). Source: ggml.
//!
//! Stored block, 176 bytes: d, dmin and packed scales as in Q4_K, 32 bytes of high bits (bit `g`
//! of byte `i` for quant `i` of group `g`), 128 bytes of nibbles as in Q4_K.
//!
//! Plane 0 (`vec4<u32>`, one per unit): nibbles in the order of [`bits`]. Plane 1 (`u32`, twelve
//! per block): the four words of [`Scales::put`], then one word of high bits per unit (bit
//! `8i + k` for weight `4k + i`).

use super::bits;
use super::integers::{IntegerQuants, IntegerUnit};
use super::q4_k::{BLOCK_NIBBLES, Scales, WEIGHTS, put_block_nibbles};
use super::rules::WeightFormat;

const BYTES: usize = 176;
/// Words of plane 1 per super-block.
const BLOCK_WORDS: usize = 12;

pub(super) struct Q5K;

impl WeightFormat for Q5K {
    fn block_weights(&self) -> usize {
        WEIGHTS
    }

    fn block_bytes(&self) -> usize {
        BYTES
    }

    fn dequantize_row(&self, stored: &[u8], out: &mut [f32]) {
        for (values, block) in out.chunks_exact_mut(WEIGHTS).zip(stored.chunks_exact(BYTES)) {
            let (scales, high) = (Scales::read(block), &block[16..48]);
            for (group, values) in values.chunks_exact_mut(32).enumerate() {
                let (scale, minimum) = scales.group(block, group);
                let (bytes, shift) = (&block[48 + 32 * (group / 2)..], 4 * (group % 2));
                for ((value, &byte), &high) in values.iter_mut().zip(bytes).zip(high) {
                    let quant = ((byte >> shift) & 15) | (((high >> group) & 1) << 4);
                    *value = scale * f32::from(quant) - minimum;
                }
            }
        }
    }

    fn integers(&self) -> Option<IntegerQuants> {
        IntegerQuants::sixes(None)
    }

    fn integer_units(&self, stored: &[u8], units: &mut [IntegerUnit]) {
        for (units, block) in units.chunks_mut(8).zip(stored.chunks_exact(BYTES)) {
            let scales = Scales::read(block);
            for (group, unit) in units.iter_mut().enumerate() {
                let (scale, minimum) = scales.group(block, group);
                let mut quants = [0; 32];
                let bytes = block[48 + 32 * (group / 2)..].iter().zip(&block[16..48]);
                for (quant, (byte, high)) in quants.iter_mut().zip(bytes) {
                    *quant = ((byte >> (4 * (group % 2))) & 15) | (((high >> group) & 1) << 4);
                }
                *unit = IntegerUnit::new(quants, scale, -minimum);
            }
        }
    }

    fn plane_row_bytes(&self, columns: usize) -> Vec<usize> {
        let units = bits::units(columns);
        vec![units * 16, units.div_ceil(8) * BLOCK_WORDS * 4]
    }

    fn repack_row(&self, _columns: usize, stored: &[u8], planes: &mut [&mut [u8]]) {
        let [nibbles, others] = planes else { return };
        let blocks =
            nibbles.chunks_exact_mut(BLOCK_NIBBLES).zip(others.chunks_exact_mut(4 * BLOCK_WORDS));
        for ((nibbles, others), block) in blocks.zip(stored.chunks_exact(BYTES)) {
            Scales::read(block).put(others);
            for group in 0..8 {
                bits::put_word(others, 4 + group, bits::spread_bytes(&block[16..], group));
            }
            put_block_nibbles(nibbles, &block[48..]);
        }
    }

    fn is_finite(&self, stored: &[u8]) -> bool {
        bits::halves_are_finite(stored, BYTES, [0, 2])
    }

    fn quant_bits(&self) -> Option<u32> {
        Some(5)
    }

    fn shader(&self) -> &'static str {
        include_wgsl!("../../shaders/formats/q5_k.wgsl")
    }
}
