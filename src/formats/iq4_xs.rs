//! IQ4_XS: super-blocks of 256 weights, eight groups of 32 four-bit quants, indices into the table
//! of levels of IQ4_NL, with a six-bit scale each; weight = level[quant] · (d · (scale − 32)).
//! Source: ggml.
//!
//! Stored block, 136 bytes: f16 d, u16 with the high two bits of scale `g` at bit `2g`, four bytes
//! with the low four bits of each scale in order, low nibble first, and 16 bytes of quants per
//! group as in IQ4_NL.
//!
//! Plane 0 (`vec4<u32>`, one per unit): nibbles in the order of [`bits`]. Plane 1 (`u32`, two per
//! block): the first eight bytes of the stored block.

use super::bits;
use super::integers::{IntegerQuants, IntegerUnit};
use super::iq4_nl::LEVELS;
use super::q4_k::{BLOCK_NIBBLES, WEIGHTS};
use super::rules::WeightFormat;

const BYTES: usize = 136;
/// Bytes of d and scales at the start of a stored block.
const HEAD_BYTES: usize = 8;

pub(super) struct Iq4Xs;

/// Scale of a group.
fn group_scale(block: &[u8], group: usize) -> f32 {
    let high = (bits::word(block, 0) >> (16 + 2 * group)) & 3;
    let low = (bits::word(block, 1) >> (4 * group)) & 15;
    bits::half_at(block, 0) * ((low | (high << 4)) as f32 - 32.0)
}

/// Quants of each group.
fn groups(block: &[u8]) -> impl Iterator<Item = [u8; 32]> {
    block[HEAD_BYTES..].chunks_exact(bits::NIBBLES).map(bits::nibbles)
}

impl WeightFormat for Iq4Xs {
    fn block_weights(&self) -> usize {
        WEIGHTS
    }

    fn block_bytes(&self) -> usize {
        BYTES
    }

    fn dequantize_row(&self, stored: &[u8], out: &mut [f32]) {
        for (values, block) in out.chunks_exact_mut(WEIGHTS).zip(stored.chunks_exact(BYTES)) {
            let groups = values.chunks_exact_mut(32).zip(groups(block)).enumerate();
            for (group, (values, quants)) in groups {
                let scale = group_scale(block, group);
                for (value, quant) in values.iter_mut().zip(quants) {
                    *value = scale * f32::from(LEVELS[usize::from(quant)]);
                }
            }
        }
    }

    fn integers(&self) -> Option<IntegerQuants> {
        IntegerQuants::table(&LEVELS, 32)
    }

    fn integer_units(&self, stored: &[u8], units: &mut [IntegerUnit]) {
        for (units, block) in units.chunks_mut(8).zip(stored.chunks_exact(BYTES)) {
            for (group, (unit, quants)) in units.iter_mut().zip(groups(block)).enumerate() {
                *unit = IntegerUnit::new(quants, group_scale(block, group), 0.0);
            }
        }
    }

    fn plane_row_bytes(&self, columns: usize) -> Vec<usize> {
        let units = bits::units(columns);
        vec![units * 16, units.div_ceil(8) * HEAD_BYTES]
    }

    fn repack_row(&self, _columns: usize, stored: &[u8], planes: &mut [&mut [u8]]) {
        let [nibbles, heads] = planes else { return };
        let blocks = nibbles.chunks_exact_mut(BLOCK_NIBBLES).zip(heads.chunks_exact_mut(8));
        for ((nibbles, head), block) in blocks.zip(stored.chunks_exact(BYTES)) {
            let (stored_head, quants) = block.split_at(HEAD_BYTES);
            head.copy_from_slice(stored_head);
            let units = nibbles.chunks_exact_mut(bits::NIBBLES);
            for (unit, quants) in units.zip(quants.chunks_exact(bits::NIBBLES)) {
                bits::put_block32(unit, quants);
            }
        }
    }

    fn is_finite(&self, stored: &[u8]) -> bool {
        bits::halves_are_finite(stored, BYTES, [0])
    }

    fn shader(&self) -> &'static str {
        include_wgsl!("../../shaders/formats/iq4_xs.wgsl")
    }
}
