//! MXFP8: blocks of 32 eight-bit floats (E4M3) with one scale, a power of two (E8M0);
//! weight = number · 2^(exponent − 127). Source: OCP Microscaling Formats 1.0.
//!
//! Stored block, 33 bytes: exponent, then one byte per weight. Blocks with the numbers 0x7f and
//! 0xff, which are NaN, and blocks whose largest possible weight is not finite are refused.
//!
//! Plane 0 (`vec4<u32>`, two per unit): the bytes in order. Plane 1 (`u32`): exponents, four per
//! word. The GPU may take scales below 2^−126 for zero.

use super::bits;
use super::bits::UNIT;
use super::f8_e4m3::{are_numbers, number};
use super::integers::{IntegerQuants, IntegerUnit};
use super::mxfp4::half_scale;
use super::rules::WeightFormat;

const BYTES: usize = 1 + UNIT;
/// Largest exponent with which all weights, up to 448 · 2^(exponent − 127), are finite.
const MAX_EXPONENT: u8 = 246;

pub(super) struct Mxfp8;

impl WeightFormat for Mxfp8 {
    fn block_weights(&self) -> usize {
        UNIT
    }

    fn block_bytes(&self) -> usize {
        BYTES
    }

    fn dequantize_row(&self, stored: &[u8], out: &mut [f32]) {
        for (values, block) in out.chunks_exact_mut(UNIT).zip(stored.chunks_exact(BYTES)) {
            let half = half_scale(block[0]);
            for (value, byte) in values.iter_mut().zip(&block[1..]) {
                *value = half * (2.0 * number(*byte));
            }
        }
    }

    fn integers(&self) -> Option<IntegerQuants> {
        IntegerQuants::bytes(Some(IntegerUnit::MIDDLE))
    }

    fn integer_units(&self, stored: &[u8], units: &mut [IntegerUnit]) {
        for (unit, block) in units.iter_mut().zip(stored.chunks_exact(BYTES)) {
            let mut values = [0.0; UNIT];
            self.dequantize_row(block, &mut values);
            *unit = IntegerUnit::rounded(&values);
        }
    }

    fn plane_row_bytes(&self, columns: usize) -> Vec<usize> {
        let units = bits::units(columns);
        vec![units * UNIT, units.next_multiple_of(4)]
    }

    fn repack_row(&self, _columns: usize, stored: &[u8], planes: &mut [&mut [u8]]) {
        let [numbers, exponents] = planes else { return };
        let units = numbers.chunks_exact_mut(UNIT).zip(exponents.iter_mut());
        for ((unit, exponent), block) in units.zip(stored.chunks_exact(BYTES)) {
            unit.copy_from_slice(&block[1..]);
            *exponent = block[0];
        }
    }

    fn is_finite(&self, stored: &[u8]) -> bool {
        bits::all(stored.chunks_exact(BYTES), |block| {
            block[0] <= MAX_EXPONENT && are_numbers(&block[1..])
        })
    }

    fn shader(&self) -> &'static str {
        include_wgsl!("../../shaders/formats/mxfp8.wgsl")
    }
}
