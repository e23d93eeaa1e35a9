//! Q8_0: blocks of 32 i8 quants with one scale; weight = quant · scale. Source: ggml.
//!
//! Stored block, 34 bytes: f16 scale, 32 × i8.
//!
//! Plane 0 (`vec4<u32>`, two per unit): the bytes in order. Plane 1 (`u32`): f16 scales, two per
//! word.

use half::f16;

use super::bits;
use super::bits::UNIT;
use super::integers::{IntegerQuants, IntegerUnit};
use super::rules::WeightFormat;

const BYTES: usize = 34;
/// Candidate scales of a block, stated as the quant of the largest magnitude before rounding.
const LARGEST_QUANTS: [f32; 9] = [123.0, 124.0, 125.0, 125.5, 126.0, 126.5, 127.0, 127.25, 127.5];

pub(super) struct Q8_0;

impl WeightFormat for Q8_0 {
    fn block_weights(&self) -> usize {
        32
    }

    fn block_bytes(&self) -> usize {
        BYTES
    }

    fn dequantize_row(&self, stored: &[u8], out: &mut [f32]) {
        for (values, block) in out.chunks_exact_mut(32).zip(stored.chunks_exact(BYTES)) {
            let scale = bits::half_at(block, 0);
            for (value, &quant) in values.iter_mut().zip(&block[2..]) {
                *value = f32::from(quant.cast_signed()) * scale;
            }
        }
    }

    fn quantize(&self, values: &[f32], block: &mut [u8]) -> bool {
        let greatest = values.iter().fold(0.0f32, |greatest, value| greatest.max(value.abs()));
        let mut best = f32::INFINITY;
        let mut quants = [0i8; UNIT];
        for largest in LARGEST_QUANTS {
            let scale = f16::from_f32(greatest / largest);
            let (scale, inverse) = (scale.to_f32(), 1.0 / scale.to_f32());
            let mut error = 0.0;
            for (quant, value) in quants.iter_mut().zip(values) {
                *quant = (value * inverse).round().clamp(-127.0, 127.0) as i8;
                let distance = f32::from(*quant) * scale - value;
                error += distance * distance;
            }
            if error < best {
                best = error;
                block[..2].copy_from_slice(&f16::from_f32(scale).to_le_bytes());
                for (byte, quant) in block[2..].iter_mut().zip(quants) {
                    *byte = quant.cast_unsigned();
                }
            }
        }
        best.is_finite()
    }

    fn integers(&self) -> Option<IntegerQuants> {
        IntegerQuants::bytes(Some(128))
    }

    fn integer_units(&self, stored: &[u8], units: &mut [IntegerUnit]) {
        for (unit, block) in units.iter_mut().zip(stored.chunks_exact(BYTES)) {
            let mut quants = [0; UNIT];
            for (quant, byte) in quants.iter_mut().zip(&block[2..]) {
                *quant = byte ^ 0x80;
            }
            *unit = IntegerUnit::new(quants, bits::half_at(block, 0), 0.0);
        }
    }

    fn plane_row_bytes(&self, columns: usize) -> Vec<usize> {
        let units = bits::units(columns);
        vec![units * UNIT, bits::halves_bytes(units)]
    }

    fn repack_row(&self, _columns: usize, stored: &[u8], planes: &mut [&mut [u8]]) {
        let blocks = stored.chunks_exact(BYTES);
        bits::put_halves(planes[1], blocks.clone(), 0);
        for (quants, block) in planes[0].chunks_exact_mut(UNIT).zip(blocks) {
            quants.copy_from_slice(&block[2..]);
        }
    }

    fn is_finite(&self, stored: &[u8]) -> bool {
        bits::halves_are_finite(stored, BYTES, [0])
    }

    fn quant_bits(&self) -> Option<u32> {
        Some(8)
    }

    fn shader(&self) -> &'static str {
        include_wgsl!("../../shaders/formats/q8_0.wgsl")
    }
}
