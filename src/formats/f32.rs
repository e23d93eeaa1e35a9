//! F32: one little-endian IEEE 754 single-precision number per weight.
//!
//! Plane 0 (`vec4<u32>`, eight per unit): the weights in order.

use super::bits;
use super::bits::UNIT;
use super::rules::{FloatKind, WeightFormat};

pub(super) struct F32;

impl WeightFormat for F32 {
    fn block_weights(&self) -> usize {
        1
    }

    fn block_bytes(&self) -> usize {
        4
    }

    fn dequantize_row(&self, stored: &[u8], out: &mut [f32]) {
        for (value, bytes) in out.iter_mut().zip(stored.chunks_exact(4)) {
            *value = f32::from_bits(bits::word(bytes, 0));
        }
    }

    fn float_kind(&self) -> Option<FloatKind> {
        Some(FloatKind::F32)
    }

    fn plane_row_bytes(&self, columns: usize) -> Vec<usize> {
        vec![bits::units(columns) * UNIT * 4]
    }

    fn repack_row(&self, columns: usize, stored: &[u8], planes: &mut [&mut [u8]]) {
        planes[0][..4 * columns].copy_from_slice(&stored[..4 * columns]);
    }

    fn is_finite(&self, stored: &[u8]) -> bool {
        const EXPONENT: u32 = 0x7f80_0000;
        bits::all(stored.chunks_exact(4), |bytes| bits::word(bytes, 0) & EXPONENT != EXPONENT)
    }

    fn shader(&self) -> &'static str {
        include_wgsl!("../../shaders/formats/f32.wgsl")
    }
}
