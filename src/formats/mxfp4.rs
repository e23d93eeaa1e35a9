//! MXFP4: blocks of 32 four-bit floats (E2M1) with one scale, a power of two (E8M0);
//! weight = number · 2^(exponent − 127). Sources: OCP Microscaling Formats 1.0; ggml, which states
//! numbers doubled and scales halved.
//!
//! Stored block, 17 bytes: exponent, 16 bytes with number `i` in the low and number `16 + i` in the
//! high nibble of byte `i`. Blocks whose largest weight is not finite are refused.
//!
//! Plane 0 (`vec4<u32>`, one per unit): nibbles in the order of [`bits`]. Plane 1 (`u32`):
//! exponents, four per word. The GPU may take scales below 2^−126 for zero.

use super::bits;
use super::integers::{IntegerQuants, IntegerUnit};
use super::rules::WeightFormat;

const BYTES: usize = 17;
/// Twice the numbers that four bits encode: sign, two bits of exponent, one of mantissa.
pub(super) const DOUBLED: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];
/// Largest exponent with which all weights are finite.
const MAX_EXPONENT: u8 = 252;

pub(super) struct Mxfp4;

/// Half of a block's scale: `2^(exponent − 128)`, exact also where it is subnormal.
pub(super) fn half_scale(exponent: u8) -> f32 {
    f32::from_bits(match exponent {
        0 | 1 => 0x0020_0000 << exponent,
        _ => (u32::from(exponent) - 1) << 23,
    })
}

impl WeightFormat for Mxfp4 {
    fn block_weights(&self) -> usize {
        32
    }

    fn block_bytes(&self) -> usize {
        BYTES
    }

    fn dequantize_row(&self, stored: &[u8], out: &mut [f32]) {
        for (values, block) in out.chunks_exact_mut(32).zip(stored.chunks_exact(BYTES)) {
            let scale = half_scale(block[0]);
            for (value, number) in values.iter_mut().zip(bits::nibbles(&block[1..])) {
                *value = scale * f32::from(DOUBLED[usize::from(number)]);
            }
        }
    }

    fn integers(&self) -> Option<IntegerQuants> {
        IntegerQuants::table(&DOUBLED, 32)
    }

    fn integer_units(&self, stored: &[u8], units: &mut [IntegerUnit]) {
        for (unit, block) in units.iter_mut().zip(stored.chunks_exact(BYTES)) {
            *unit = IntegerUnit::new(bits::nibbles(&block[1..]), half_scale(block[0]), 0.0);
        }
    }

    fn plane_row_bytes(&self, columns: usize) -> Vec<usize> {
        let units = bits::units(columns);
        vec![units * bits::NIBBLES, units.next_multiple_of(4)]
    }

    fn repack_row(&self, _columns: usize, stored: &[u8], planes: &mut [&mut [u8]]) {
        let [nibbles, exponents] = planes else { return };
        let units = nibbles.chunks_exact_mut(bits::NIBBLES).zip(exponents.iter_mut());
        for ((unit, exponent), block) in units.zip(stored.chunks_exact(BYTES)) {
            bits::put_block32(unit, &block[1..]);
            *exponent = block[0];
        }
    }

    fn is_finite(&self, stored: &[u8]) -> bool {
        bits::all(stored.chunks_exact(BYTES), |block| block[0] <= MAX_EXPONENT)
    }

    fn quant_bits(&self) -> Option<u32> {
        Some(4)
    }

    fn shader(&self) -> &'static str {
        include_wgsl!("../../shaders/formats/mxfp4.wgsl")
    }
}
