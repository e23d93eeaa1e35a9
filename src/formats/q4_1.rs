//! Q4_1: blocks of 32 four-bit quants with a scale and a minimum; weight = quant · scale + minimum.
//! Source: ggml.
//!
//! Stored block, 20 bytes: f16 scale, f16 minimum, 16 bytes with quant `i` in the low and quant
//! `16 + i` in the high nibble of byte `i`.
//!
//! Plane 0 (`vec4<u32>`, one per unit): nibbles in the order of [`bits`]. Plane 1 (`u32`, one per
//! unit): f16 scale in the low half, f16 minimum in the high half.

use super::bits;
use super::integers::{IntegerQuants, IntegerUnit};
use super::rules::WeightFormat;

const BYTES: usize = 20;

pub(super) struct Q4_1;

impl WeightFormat for Q4_1 {
    fn block_weights(&self) -> usize {
        32
    }

    fn block_bytes(&self) -> usize {
        BYTES
    }

    fn dequantize_row(&self, stored: &[u8], out: &mut [f32]) {
        for (values, block) in out.chunks_exact_mut(32).zip(stored.chunks_exact(BYTES)) {
            let (scale, minimum) = (bits::half_at(block, 0), bits::half_at(block, 2));
            for (value, quant) in values.iter_mut().zip(bits::nibbles(&block[4..])) {
                *value = scale * f32::from(quant) + minimum;
            }
        }
    }

    fn integers(&self) -> Option<IntegerQuants> {
        IntegerQuants::nibbles(None)
    }

    fn integer_units(&self, stored: &[u8], units: &mut [IntegerUnit]) {
        for (unit, block) in units.iter_mut().zip(stored.chunks_exact(BYTES)) {
            let (scale, minimum) = (bits::half_at(block, 0), bits::half_at(block, 2));
            *unit = IntegerUnit::new(bits::nibbles(&block[4..]), scale, minimum);
        }
    }

    fn plane_row_bytes(&self, columns: usize) -> Vec<usize> {
        let units = bits::units(columns);
        vec![units * 16, units * 4]
    }

    fn repack_row(&self, _columns: usize, stored: &[u8], planes: &mut [&mut [u8]]) {
        let [nibbles, pairs] = planes else { return };
        let units = nibbles.chunks_exact_mut(bits::NIBBLES).zip(pairs.chunks_exact_mut(4));
        for ((unit, pair), block) in units.zip(stored.chunks_exact(BYTES)) {
            bits::put_block32(unit, &block[4..]);
            pair.copy_from_slice(&block[..4]);
        }
    }

    fn is_finite(&self, stored: &[u8]) -> bool {
        bits::halves_are_finite(stored, BYTES, [0, 2])
    }

    fn quant_bits(&self) -> Option<u32> {
        Some(4)
    }

    fn shader(&self) -> &'static str {
        include_wgsl!("../../shaders/formats/q4_1.wgsl")
    }
}
