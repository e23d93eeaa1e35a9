//! Q4_0: blocks of 32 four-bit quants with one scale; weight = (quant − 8) · scale. Source: ggml.
//!
//! Stored block, 18 bytes: f16 scale, 16 bytes with quant `i` in the low and quant `16 + i`
//! in the high nibble of byte `i`.
//!
//! Plane 0 (`vec4<u32>`, one per unit): nibbles in the order of [`bits`]. Plane 1 (`u32`): f16
//! scales, two per word.

use super::bits;
use super::integers::{IntegerQuants, IntegerUnit};
use super::rules::WeightFormat;

const BYTES: usize = 18;

pub(super) struct Q4_0;

impl WeightFormat for Q4_0 {
    fn block_weights(&self) -> usize {
        32
    }

    fn block_bytes(&self) -> usize {
        BYTES
    }

    fn dequantize_row(&self, stored: &[u8], out: &mut [f32]) {
        for (values, block) in out.chunks_exact_mut(32).zip(stored.chunks_exact(BYTES)) {
            let scale = bits::half_at(block, 0);
            for (value, quant) in values.iter_mut().zip(bits::nibbles(&block[2..])) {
                *value = scale * (f32::from(quant) - 8.0);
            }
        }
    }

    fn integers(&self) -> Option<IntegerQuants> {
        IntegerQuants::nibbles(Some(8))
    }

    fn integer_units(&self, stored: &[u8], units: &mut [IntegerUnit]) {
        for (unit, block) in units.iter_mut().zip(stored.chunks_exact(BYTES)) {
            *unit = IntegerUnit::new(bits::nibbles(&block[2..]), bits::half_at(block, 0), 0.0);
        }
    }

    fn plane_row_bytes(&self, columns: usize) -> Vec<usize> {
        let units = bits::units(columns);
        vec![units * 16, bits::halves_bytes(units)]
    }

    fn repack_row(&self, _columns: usize, stored: &[u8], planes: &mut [&mut [u8]]) {
        let blocks = stored.chunks_exact(BYTES);
        bits::put_halves(planes[1], blocks.clone(), 0);
        for (unit, block) in planes[0].chunks_exact_mut(bits::NIBBLES).zip(blocks) {
            bits::put_block32(unit, &block[2..]);
        }
    }

    fn is_finite(&self, stored: &[u8]) -> bool {
        bits::halves_are_finite(stored, BYTES, [0])
    }

    fn quant_bits(&self) -> Option<u32> {
        Some(4)
    }

    fn shader(&self) -> &'static str {
        include_wgsl!("../../shaders/formats/q4_0.wgsl")
    }
}
