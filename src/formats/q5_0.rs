//! Q5_0: blocks of 32 five-bit quants with one scale; weight = (quant − 16) · scale. Source: ggml.
//!
//! Stored block, 22 bytes: f16 scale, 32 high bits (bit `i` for quant `i`), 16 bytes with the low
//! bits of quant `i` in the low and of quant `16 + i` in the high nibble of byte `i`.
//!
//! Plane 0 (`vec4<u32>`, one per unit): nibbles in the order of [`bits`]. Plane 1 (`u32`): in each
//! row one word of high bits per unit (bit `8i + k` for weight `4k + i`), then the f16 scales, two
//! per word.

use super::bits;
use super::integers::{IntegerQuants, IntegerUnit};
use super::rules::WeightFormat;

const BYTES: usize = 22;

pub(super) struct Q5_0;

impl WeightFormat for Q5_0 {
    fn block_weights(&self) -> usize {
        32
    }

    fn block_bytes(&self) -> usize {
        BYTES
    }

    fn dequantize_row(&self, stored: &[u8], out: &mut [f32]) {
        for (values, block) in out.chunks_exact_mut(32).zip(stored.chunks_exact(BYTES)) {
            let scale = bits::half_at(block, 0);
            let quants = bits::five_bits(&block[6..], bits::word(&block[2..], 0));
            for (value, quant) in values.iter_mut().zip(quants) {
                *value = scale * (f32::from(quant) - 16.0);
            }
        }
    }

    fn integers(&self) -> Option<IntegerQuants> {
        IntegerQuants::sixes(Some(16))
    }

    fn integer_units(&self, stored: &[u8], units: &mut [IntegerUnit]) {
        for (unit, block) in units.iter_mut().zip(stored.chunks_exact(BYTES)) {
            let quants = bits::five_bits(&block[6..], bits::word(&block[2..], 0));
            *unit = IntegerUnit::new(quants, bits::half_at(block, 0), 0.0);
        }
    }

    fn plane_row_bytes(&self, columns: usize) -> Vec<usize> {
        let units = bits::units(columns);
        vec![units * 16, units * 4 + bits::halves_bytes(units)]
    }

    fn repack_row(&self, columns: usize, stored: &[u8], planes: &mut [&mut [u8]]) {
        let [nibbles, others] = planes else { return };
        let (high, scales) = others.split_at_mut(4 * bits::units(columns));
        let blocks = stored.chunks_exact(BYTES);
        bits::put_halves(scales, blocks.clone(), 0);
        let units = nibbles.chunks_exact_mut(bits::NIBBLES).zip(high.chunks_exact_mut(4));
        for ((unit, high), block) in units.zip(blocks) {
            bits::put_block32(unit, &block[6..]);
            bits::put_word(high, 0, bits::spread_bits(bits::word(&block[2..], 0)));
        }
    }

    fn is_finite(&self, stored: &[u8]) -> bool {
        bits::halves_are_finite(stored, BYTES, [0])
    }

    fn quant_bits(&self) -> Option<u32> {
        Some(5)
    }

    fn shader(&self) -> &'static str {
        include_wgsl!("../../shaders/formats/q5_0.wgsl")
    }
}
