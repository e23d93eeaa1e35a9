//! Q8_0: 32 signed bytes and one scale; weight = quant · scale.
//!
//! Stored block, 34 bytes: f16 scale, 32 × i8.
//! Plane 0 (`vec4<u32>`, two a unit): the bytes in order. Plane 1 (`u32`): f16 scales, two a word.

use super::{UNIT, WeightFormat, bits};

const BYTES: usize = 34;

pub(super) struct Q8_0;

impl WeightFormat for Q8_0 {
    fn block_weights(&self) -> usize {
        32
    }

    fn block_bytes(&self) -> usize {
        BYTES
    }

    fn dequantise_row(&self, stored: &[u8], out: &mut [f32]) {
        for (values, block) in out.chunks_exact_mut(32).zip(stored.chunks_exact(BYTES)) {
            let scale = bits::half_at(block, 0);
            for (value, &quant) in values.iter_mut().zip(&block[2..]) {
                *value = f32::from(quant.cast_signed()) * scale;
            }
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

    fn shader(&self) -> &'static str {
        include_str!("../../shaders/formats/q8_0.wgsl")
    }
}
