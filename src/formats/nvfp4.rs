//! NVFP4: blocks of 64 four-bit floats (E2M1), four groups of 16 with an eight-bit scale each
//! (E4M3 without sign); weight = number · scale. Source: ggml, which states numbers doubled and
//! scales halved. The scale of a whole matrix is a tensor of its own.
//!
//! Stored block, 36 bytes: four scales, then eight bytes per group with number `i` in the low and
//! number `8 + i` in the high nibble of byte `i`. As in ggml, the scale 0x7f counts as zero, and
//! the highest bit of other scales is ignored.
//!
//! Plane 0 (`vec4<u32>`, one per unit): nibbles in the order of [`bits`]. Plane 1 (`u32`, one per
//! block): the four scales, without sign, and zero in place of 0x7f.

use super::bits;
use super::integers::{IntegerQuants, IntegerUnit};
use super::mxfp4::DOUBLED;
use super::rules::WeightFormat;

const BYTES: usize = 36;
const WEIGHTS: usize = 64;
/// Bytes of scales at the start of a stored block.
const SCALES: usize = 4;
/// Scale that counts as zero: not a number in E4M3.
const NAN: u8 = 0x7f;

pub(super) struct Nvfp4;

/// Half of a group's scale.
fn half_scale(byte: u8) -> f32 {
    if byte == NAN {
        return 0.0;
    }
    let (exponent, mantissa) = (u32::from(byte >> 3 & 15), u32::from(byte & 7));
    // Subnormals: the smallest exponent and no implicit leading one.
    let significand = if exponent == 0 { mantissa } else { mantissa | 8 };
    significand as f32 * f32::from_bits((exponent.max(1) + 127 - 7 - 3 - 1) << 23)
}

/// Quants of the two units of a block.
fn quants(block: &[u8]) -> [[u8; 32]; 2] {
    let mut units = [[0; 32]; 2];
    let groups = units.as_flattened_mut().chunks_exact_mut(16);
    for (group, bytes) in groups.zip(block[SCALES..].chunks_exact(8)) {
        let (low, high) = group.split_at_mut(8);
        for ((low, high), byte) in low.iter_mut().zip(high).zip(bytes) {
            (*low, *high) = (byte & 15, byte >> 4);
        }
    }
    units
}

impl WeightFormat for Nvfp4 {
    fn block_weights(&self) -> usize {
        WEIGHTS
    }

    fn block_bytes(&self) -> usize {
        BYTES
    }

    fn dequantize_row(&self, stored: &[u8], out: &mut [f32]) {
        for (values, block) in out.chunks_exact_mut(WEIGHTS).zip(stored.chunks_exact(BYTES)) {
            let units = quants(block);
            for (i, (value, number)) in values.iter_mut().zip(units.as_flattened()).enumerate() {
                *value = half_scale(block[i / 16]) * f32::from(DOUBLED[usize::from(*number)]);
            }
        }
    }

    fn integers(&self) -> Option<IntegerQuants> {
        IntegerQuants::table(&DOUBLED, 16)
    }

    fn integer_units(&self, stored: &[u8], units: &mut [IntegerUnit]) {
        for (units, block) in units.chunks_mut(2).zip(stored.chunks_exact(BYTES)) {
            for (index, (unit, quants)) in units.iter_mut().zip(quants(block)).enumerate() {
                let scale = |half: usize| half_scale(block[2 * index + half]);
                *unit = IntegerUnit::halves(quants, [scale(0), scale(1)]);
            }
        }
    }

    fn plane_row_bytes(&self, columns: usize) -> Vec<usize> {
        let units = bits::units(columns);
        vec![units * bits::NIBBLES, units.div_ceil(2) * SCALES]
    }

    fn repack_row(&self, _columns: usize, stored: &[u8], planes: &mut [&mut [u8]]) {
        let [nibbles, scales] = planes else { return };
        let blocks = nibbles.chunks_exact_mut(2 * bits::NIBBLES);
        let blocks = blocks.zip(scales.chunks_exact_mut(SCALES));
        for ((nibbles, scales), block) in blocks.zip(stored.chunks_exact(BYTES)) {
            for (unit, quants) in nibbles.chunks_exact_mut(bits::NIBBLES).zip(quants(block)) {
                bits::put_nibbles(unit, bits::eights(&quants));
            }
            for (scale, byte) in scales.iter_mut().zip(block) {
                *scale = if *byte == NAN { 0 } else { byte & 0x7f };
            }
        }
    }

    fn is_finite(&self, _stored: &[u8]) -> bool {
        true
    }

    fn quant_bits(&self) -> Option<u32> {
        Some(4)
    }

    fn shader(&self) -> &'static str {
        include_wgsl!("../../shaders/formats/nvfp4.wgsl")
    }
}
