//! Q2_0: blocks of 64 two-bit quants with one scale; weight = (quant − 1) · scale. Source: ggml.
//!
//! Stored block, 18 bytes: f16 scale, 16 bytes of quants, the first in the lowest bits.
//!
//! Plane 0 (`vec4<u32>`, one per block): two words of bit pairs per unit, [`bits::put_pairs`].
//! Plane 1 (`u32`): f16 scales, two per word.

use super::bits;
use super::integers::{IntegerQuants, IntegerUnit, Levels};
use super::rules::WeightFormat;

const BYTES: usize = 18;
const WEIGHTS: usize = 64;

pub(super) struct Q2_0;

/// Quants of the two units of a block.
fn quants(block: &[u8]) -> [[u8; 32]; 2] {
    let quant = |i: usize| (block[2 + i / 4] >> (i % 4 * 2)) & 3;
    std::array::from_fn(|unit| std::array::from_fn(|i| quant(32 * unit + i)))
}

impl WeightFormat for Q2_0 {
    fn block_weights(&self) -> usize {
        WEIGHTS
    }

    fn block_bytes(&self) -> usize {
        BYTES
    }

    fn dequantize_row(&self, stored: &[u8], out: &mut [f32]) {
        for (values, block) in out.chunks_exact_mut(WEIGHTS).zip(stored.chunks_exact(BYTES)) {
            let (scale, units) = (bits::half_at(block, 0), quants(block));
            for (value, quant) in values.iter_mut().zip(units.as_flattened()) {
                *value = (f32::from(*quant) - 1.0) * scale;
            }
        }
    }

    fn integers(&self) -> Option<IntegerQuants> {
        let levels = Levels::Linear;
        Some(IntegerQuants { bits: 2, levels, zero_point: Some(1), group: bits::UNIT })
    }

    fn integer_units(&self, stored: &[u8], units: &mut [IntegerUnit]) {
        for (units, block) in units.chunks_mut(2).zip(stored.chunks_exact(BYTES)) {
            for (unit, quants) in units.iter_mut().zip(quants(block)) {
                *unit = IntegerUnit::new(quants, bits::half_at(block, 0), 0.0);
            }
        }
    }

    fn plane_row_bytes(&self, columns: usize) -> Vec<usize> {
        let units = bits::units(columns);
        vec![units * bits::PAIRS, bits::halves_bytes(units.div_ceil(2))]
    }

    fn repack_row(&self, _columns: usize, stored: &[u8], planes: &mut [&mut [u8]]) {
        let blocks = stored.chunks_exact(BYTES);
        bits::put_halves(planes[1], blocks.clone(), 0);
        for (pairs, block) in planes[0].chunks_exact_mut(2 * bits::PAIRS).zip(blocks) {
            for (pairs, quants) in pairs.chunks_exact_mut(bits::PAIRS).zip(quants(block)) {
                bits::put_pairs(pairs, bits::eights(&quants));
            }
        }
    }

    fn is_finite(&self, stored: &[u8]) -> bool {
        bits::halves_are_finite(stored, BYTES, [0])
    }

    fn quant_bits(&self) -> Option<u32> {
        Some(2)
    }

    fn shader(&self) -> &'static str {
        include_wgsl!("../../shaders/formats/q2_0.wgsl")
    }
}
