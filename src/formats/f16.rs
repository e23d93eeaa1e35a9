//! F16: one little-endian IEEE 754 half-precision number per weight.
//!
//! Plane 0 (`vec4<u32>`, four per unit): the weights in order.

use super::bits;
use super::bits::UNIT;
use super::rules::{FloatKind, WeightFormat};

pub(super) struct F16;

impl WeightFormat for F16 {
    fn block_weights(&self) -> usize {
        1
    }

    fn block_bytes(&self) -> usize {
        2
    }

    fn dequantize_row(&self, stored: &[u8], out: &mut [f32]) {
        for (value, bytes) in out.iter_mut().zip(stored.chunks_exact(2)) {
            *value = bits::half_at(bytes, 0);
        }
    }

    fn float_kind(&self) -> Option<FloatKind> {
        Some(FloatKind::F16)
    }

    fn plane_row_bytes(&self, columns: usize) -> Vec<usize> {
        vec![bits::units(columns) * UNIT * 2]
    }

    fn repack_row(&self, columns: usize, stored: &[u8], planes: &mut [&mut [u8]]) {
        planes[0][..2 * columns].copy_from_slice(&stored[..2 * columns]);
    }

    fn is_finite(&self, stored: &[u8]) -> bool {
        bits::halves_are_finite(stored, 2, [0])
    }

    fn shader(&self) -> &'static str {
        include_wgsl!("../../shaders/formats/f16.wgsl")
    }
}
