//! Q5_1: blocks of 32 five-bit quants with a scale and a minimum; weight = quant · scale + minimum.
//! Source: ggml.
//!
//! Stored block, 24 bytes: f16 scale, f16 minimum, 32 high bits (bit `i` for quant `i`), 16 bytes
//! with the low bits of quant `i` in the low and of quant `16 + i` in the high nibble of byte `i`.
//!
//! Plane 0 (`vec4<u32>`, one per unit): nibbles in the order of [`bits`]. Plane 1 (`u32`, two per
//! unit): high bits (bit `8i + k` for weight `4k + i`), then f16 scale and f16 minimum.

use super::bits;
use super::integers::{IntegerQuants, IntegerUnit};
use super::rules::WeightFormat;

const BYTES: usize = 24;

pub(super) struct Q5_1;

impl WeightFormat for Q5_1 {
    fn block_weights(&self) -> usize {
        32
    }

    fn block_bytes(&self) -> usize {
        BYTES
    }

    fn dequantize_row(&self, stored: &[u8], out: &mut [f32]) {
        for (values, block) in out.chunks_exact_mut(32).zip(stored.chunks_exact(BYTES)) {
            let (scale, minimum) = (bits::half_at(block, 0), bits::half_at(block, 2));
            let quants = bits::five_bits(&block[8..], bits::word(block, 1));
            for (value, quant) in values.iter_mut().zip(quants) {
                *value = scale * f32::from(quant) + minimum;
            }
        }
    }

    fn integers(&self) -> Option<IntegerQuants> {
        IntegerQuants::sixes(None)
    }

    fn integer_units(&self, stored: &[u8], units: &mut [IntegerUnit]) {
        for (unit, block) in units.iter_mut().zip(stored.chunks_exact(BYTES)) {
            let quants = bits::five_bits(&block[8..], bits::word(block, 1));
            *unit = IntegerUnit::new(quants, bits::half_at(block, 0), bits::half_at(block, 2));
        }
    }

    fn plane_row_bytes(&self, columns: usize) -> Vec<usize> {
        let units = bits::units(columns);
        vec![units * 16, units * 8]
    }

    fn repack_row(&self, _columns: usize, stored: &[u8], planes: &mut [&mut [u8]]) {
        let [nibbles, others] = planes else { return };
        let units = nibbles.chunks_exact_mut(bits::NIBBLES).zip(others.chunks_exact_mut(8));
        for ((unit, others), block) in units.zip(stored.chunks_exact(BYTES)) {
            bits::put_block32(unit, &block[8..]);
            bits::put_word(others, 0, bits::spread_bits(bits::word(block, 1)));
            others[4..].copy_from_slice(&block[..4]);
        }
    }

    fn is_finite(&self, stored: &[u8]) -> bool {
        bits::halves_are_finite(stored, BYTES, [0, 2])
    }

    fn quant_bits(&self) -> Option<u32> {
        Some(5)
    }

    fn shader(&self) -> &'static str {
        include_wgsl!("../../shaders/formats/q5_1.wgsl")
    }
}
