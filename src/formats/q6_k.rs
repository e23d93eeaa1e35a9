//! Q6_K: super-blocks of 256 weights, sixteen groups of 16 six-bit quants with an i8 scale each;
//! weight = (quant − 32) · (d · scale). Source: ggml.
//!
//! Stored block, 210 bytes: 128 bytes of low nibbles, 64 bytes of high bit pairs, 16 × i8
//! scales, f16 d. Each half of the block (128 weights) takes 64 bytes of nibbles and 32 of pairs.
//! Unit `g` of the four in a half has its nibbles in bytes `32·(g % 2) …`, the low ones for the
//! first two units, the high ones for the last two, and its pairs at bit `2g` of the 32 bytes.
//!
//! Plane 0 (`vec4<u32>`, one per unit): nibbles in the order of [`bits`]. Plane 1 (`u32`): in each
//! row twenty words per block (two words of pairs per unit: bits `8i + 2(k % 4)` of word `k / 4`
//! for weight `4k + i`; then four words of scales), and after the last block f16 d, two per word.

use super::bits;
use super::integers::{IntegerQuants, IntegerUnit};
use super::q4_k::{BLOCK_NIBBLES, WEIGHTS};
use super::rules::WeightFormat;

const BYTES: usize = 210;
/// Words of plane 1 per super-block, without d.
const BLOCK_WORDS: usize = 20;
/// Index of the first of these words that holds scales.
const SCALES_WORD: usize = 16;
/// Byte offsets of the parts of a stored block.
const PAIRS_AT: usize = 128;
const SCALES_AT: usize = 192;
const D_AT: usize = 208;

pub(super) struct Q6K;

/// The bytes that hold a unit's quants: 32 bytes of nibbles and their shift, 32 bytes of bit pairs
/// and their shift.
fn unit_parts(block: &[u8], unit: usize) -> (&[u8], u32, &[u8], u32) {
    let (half, g) = (unit / 4, unit % 4);
    let nibbles = 64 * half + 32 * (g % 2);
    let pairs = PAIRS_AT + 32 * half;
    let (nibble_shift, pair_shift) = if g < 2 { (0, 2 * g as u32) } else { (4, 2 * g as u32) };
    (&block[nibbles..nibbles + 32], nibble_shift, &block[pairs..pairs + 32], pair_shift)
}

impl WeightFormat for Q6K {
    fn block_weights(&self) -> usize {
        WEIGHTS
    }

    fn block_bytes(&self) -> usize {
        BYTES
    }

    fn dequantize_row(&self, stored: &[u8], out: &mut [f32]) {
        for (values, block) in out.chunks_exact_mut(WEIGHTS).zip(stored.chunks_exact(BYTES)) {
            let d = bits::half_at(block, D_AT);
            for (unit, values) in values.chunks_exact_mut(32).enumerate() {
                let (nibbles, nibble_shift, pairs, pair_shift) = unit_parts(block, unit);
                for (i, value) in values.iter_mut().enumerate() {
                    let scale = block[SCALES_AT + 2 * unit + i / 16].cast_signed();
                    let low = (nibbles[i] >> nibble_shift) & 15;
                    let quant = low | (((pairs[i] >> pair_shift) & 3) << 4);
                    *value = (d * f32::from(scale)) * (f32::from(quant) - 32.0);
                }
            }
        }
    }

    fn integers(&self) -> Option<IntegerQuants> {
        Some(IntegerQuants { group: 16, ..IntegerQuants::sixes(Some(32))? })
    }

    fn integer_units(&self, stored: &[u8], units: &mut [IntegerUnit]) {
        for (units, block) in units.chunks_mut(8).zip(stored.chunks_exact(BYTES)) {
            let d = bits::half_at(block, D_AT);
            for (index, unit) in units.iter_mut().enumerate() {
                let (nibbles, nibble_shift, pairs, pair_shift) = unit_parts(block, index);
                for (quant, (nibble, pair)) in unit.quants.iter_mut().zip(nibbles.iter().zip(pairs))
                {
                    *quant = ((nibble >> nibble_shift) & 15) | (((pair >> pair_shift) & 3) << 4);
                }
                let scale =
                    |half: usize| d * f32::from(block[SCALES_AT + 2 * index + half].cast_signed());
                unit.scales = [scale(0), scale(1)];
            }
        }
    }

    fn plane_row_bytes(&self, columns: usize) -> Vec<usize> {
        let units = bits::units(columns);
        let blocks = units.div_ceil(8);
        vec![units * 16, blocks * BLOCK_WORDS * 4 + bits::halves_bytes(blocks)]
    }

    fn repack_row(&self, _columns: usize, stored: &[u8], planes: &mut [&mut [u8]]) {
        let [nibbles, others] = planes else { return };
        let blocks = stored.chunks_exact(BYTES);
        let (others, d) = others.split_at_mut(blocks.len() * BLOCK_WORDS * 4);
        bits::put_halves(d, blocks.clone(), D_AT);
        let planes =
            nibbles.chunks_exact_mut(BLOCK_NIBBLES).zip(others.chunks_exact_mut(4 * BLOCK_WORDS));
        for ((nibbles, others), block) in planes.zip(blocks) {
            let (high, scales) = others.split_at_mut(SCALES_WORD * 4);
            scales.copy_from_slice(&block[SCALES_AT..D_AT]);
            let units = nibbles.chunks_exact_mut(bits::NIBBLES).zip(high.chunks_exact_mut(8));
            for (unit, (nibbles, high)) in units.enumerate() {
                let (stored, nibble_shift, pairs, pair_shift) = unit_parts(block, unit);
                bits::put_nibbles(nibbles, bits::eights(stored).map(|eight| eight >> nibble_shift));
                bits::put_pairs(high, bits::eights(pairs).map(|eight| eight >> pair_shift));
            }
        }
    }

    fn is_finite(&self, stored: &[u8]) -> bool {
        bits::halves_are_finite(stored, BYTES, [D_AT])
    }

    fn quant_bits(&self) -> Option<u32> {
        Some(6)
    }

    fn shader(&self) -> &'static str {
        include_wgsl!("../../shaders/formats/q6_k.wgsl")
    }
}
