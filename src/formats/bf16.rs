//! BF16: one little-endian bfloat16 per weight, the upper half of an f32.
//!
//! Plane 0 (`vec4<u32>`, four per unit): the weights in order.

use super::bits;
use super::bits::UNIT;
use super::rules::{FloatKind, WeightFormat};

pub(super) struct BF16;

impl WeightFormat for BF16 {
    fn block_weights(&self) -> usize {
        1
    }

    fn block_bytes(&self) -> usize {
        2
    }

    fn dequantize_row(&self, stored: &[u8], out: &mut [f32]) {
        for (value, bytes) in out.iter_mut().zip(stored.chunks_exact(2)) {
            *value = f32::from_bits(u32::from(u16::from_le_bytes([bytes[0], bytes[1]])) << 16);
        }
    }

    fn float_kind(&self) -> Option<FloatKind> {
        Some(FloatKind::BF16)
    }

    fn plane_row_bytes(&self, columns: usize) -> Vec<usize> {
        vec![bits::units(columns) * UNIT * 2]
    }

    fn repack_row(&self, columns: usize, stored: &[u8], planes: &mut [&mut [u8]]) {
        planes[0][..2 * columns].copy_from_slice(&stored[..2 * columns]);
    }

    fn is_finite(&self, stored: &[u8]) -> bool {
        const EXPONENT: u16 = 0x7f80;
        bits::all(stored.chunks_exact(2), |bytes| {
            u16::from_le_bytes([bytes[0], bytes[1]]) & EXPONENT != EXPONENT
        })
    }

    fn shader(&self) -> &'static str {
        include_wgsl!("../../shaders/formats/bf16.wgsl")
    }
}
