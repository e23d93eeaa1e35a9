//! IQ4_NL: blocks of 32 four-bit quants, indices into a table of levels, with one scale;
//! weight = level[quant] · scale. Source: ggml.
//!
//! Stored block, 18 bytes: f16 scale, 16 bytes with quant `i` in the low and quant `16 + i` in the
//! high nibble of byte `i`.
//!
//! Plane 0 (`vec4<u32>`, one per unit): nibbles in the order of [`bits`]. Plane 1 (`u32`): f16
//! scales, two per word.

use super::bits;
use super::integers::{IntegerQuants, IntegerUnit};
use super::rules::WeightFormat;

const BYTES: usize = 18;
/// Levels of IQ4_NL and IQ4_XS; shaders/lib/iq4.wgsl computes them.
pub(super) const LEVELS: [i8; 16] =
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

pub(super) struct Iq4Nl;

impl WeightFormat for Iq4Nl {
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
                *value = scale * f32::from(LEVELS[usize::from(quant)]);
            }
        }
    }

    fn integers(&self) -> Option<IntegerQuants> {
        IntegerQuants::table(&LEVELS, 32)
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

    fn shader(&self) -> &'static str {
        include_wgsl!("../../shaders/formats/iq4_nl.wgsl")
    }
}
