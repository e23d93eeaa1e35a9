//! Q3_K: super-blocks of 256 weights, sixteen groups of 16 three-bit quants with a six-bit scale
//! each; weight = (quant − 4) · (d · (scale − 32)). Source: ggml.
//!
//! Stored block, 110 bytes: 32 bytes of high bits (bit `g` of byte `i` for quant `i` of unit `g`),
//! 64 bytes of low bit pairs as in Q2_K, 12 bytes of scales, f16 d. Low four bits of scale `k` are
//! in byte `k % 8` of the scales, the low nibble for the first eight; high two bits in byte
//! `8 + k % 4` at bit `2 · (k / 4)`.
//!
//! Plane 0 (`vec4<u32>`, one per two units): two words of bit pairs per unit, [`bits::put_pairs`].
//! Plane 1 (`u32`): in each row eleven words per block (a word of high bits per unit, bit `8i + k`
//! for weight `4k + i`; two words with a byte per unit, the low four bits of its first scale below
//! those of its second; one word with a nibble per unit, the high two bits of its scales), and
//! after the last block f16 d, two per word.

use super::bits;
use super::integers::{IntegerQuants, IntegerUnit, Levels};
use super::q2_k::unit_pairs;
use super::q4_k::WEIGHTS;
use super::rules::WeightFormat;

const BYTES: usize = 110;
/// Words of plane 1 per super-block, without d.
const BLOCK_WORDS: usize = 11;
/// Index of the first of these words that holds scales.
const SCALES_WORD: usize = 8;
/// Byte offsets of the parts of a stored block.
const PAIRS_AT: usize = 32;
const SCALES_AT: usize = 96;
const D_AT: usize = 108;

pub(super) struct Q3K;

/// Six-bit scales of a super-block.
fn scales(block: &[u8]) -> [u8; 16] {
    let packed = &block[SCALES_AT..D_AT];
    std::array::from_fn(|k| {
        let low = (packed[k % 8] >> (k / 8 * 4)) & 15;
        low | (((packed[8 + k % 4] >> (k / 4 * 2)) & 3) << 4)
    })
}

/// Quants of a unit.
fn quants(block: &[u8], unit: usize) -> [u8; 32] {
    let (pairs, shift) = unit_pairs(&block[PAIRS_AT..], unit);
    std::array::from_fn(|i| ((pairs[i] >> shift) & 3) | (((block[i] >> unit) & 1) << 2))
}

/// Scale of a group.
fn group_scale(block: &[u8], scales: &[u8; 16], group: usize) -> f32 {
    bits::half_at(block, D_AT) * (f32::from(scales[group]) - 32.0)
}

impl WeightFormat for Q3K {
    fn block_weights(&self) -> usize {
        WEIGHTS
    }

    fn block_bytes(&self) -> usize {
        BYTES
    }

    fn dequantize_row(&self, stored: &[u8], out: &mut [f32]) {
        for (values, block) in out.chunks_exact_mut(WEIGHTS).zip(stored.chunks_exact(BYTES)) {
            let scales = scales(block);
            for (unit, values) in values.chunks_exact_mut(32).enumerate() {
                for (i, (value, quant)) in values.iter_mut().zip(quants(block, unit)).enumerate() {
                    let scale = group_scale(block, &scales, 2 * unit + i / 16);
                    *value = scale * (f32::from(quant) - 4.0);
                }
            }
        }
    }

    fn integers(&self) -> Option<IntegerQuants> {
        Some(IntegerQuants { bits: 3, levels: Levels::Linear, zero_point: Some(4), group: 16 })
    }

    fn integer_units(&self, stored: &[u8], units: &mut [IntegerUnit]) {
        for (units, block) in units.chunks_mut(8).zip(stored.chunks_exact(BYTES)) {
            let scales = scales(block);
            for (index, unit) in units.iter_mut().enumerate() {
                let scale = |half: usize| group_scale(block, &scales, 2 * index + half);
                *unit = IntegerUnit::halves(quants(block, index), [scale(0), scale(1)]);
            }
        }
    }

    fn plane_row_bytes(&self, columns: usize) -> Vec<usize> {
        let units = bits::units(columns);
        let blocks = units.div_ceil(8);
        vec![units * bits::PAIRS, blocks * BLOCK_WORDS * 4 + bits::halves_bytes(blocks)]
    }

    fn repack_row(&self, _columns: usize, stored: &[u8], planes: &mut [&mut [u8]]) {
        let [pairs, others] = planes else { return };
        let blocks = stored.chunks_exact(BYTES);
        let (others, d) = others.split_at_mut(blocks.len() * BLOCK_WORDS * 4);
        bits::put_halves(d, blocks.clone(), D_AT);
        let planes = pairs.chunks_exact_mut(8 * bits::PAIRS);
        let planes = planes.zip(others.chunks_exact_mut(4 * BLOCK_WORDS));
        for ((pairs, others), block) in planes.zip(blocks) {
            let (scales, mut words) = (scales(block), [0; 3]);
            for (unit, pairs) in pairs.chunks_exact_mut(bits::PAIRS).enumerate() {
                let (stored, shift) = unit_pairs(&block[PAIRS_AT..], unit);
                bits::put_pairs(pairs, bits::eights(stored).map(|eight| eight >> shift));
                bits::put_word(others, unit, bits::spread_bytes(block, unit));
                let [a, b] = [scales[2 * unit], scales[2 * unit + 1]].map(u32::from);
                words[unit / 4] |= ((a & 15) | ((b & 15) << 4)) << (unit % 4 * 8);
                words[2] |= ((a >> 4) | ((b >> 4) << 2)) << (unit * 4);
            }
            for (w, word) in words.into_iter().enumerate() {
                bits::put_word(others, SCALES_WORD + w, word);
            }
        }
    }

    fn is_finite(&self, stored: &[u8]) -> bool {
        bits::halves_are_finite(stored, BYTES, [D_AT])
    }

    fn quant_bits(&self) -> Option<u32> {
        Some(3)
    }

    fn shader(&self) -> &'static str {
        include_wgsl!("../../shaders/formats/q3_k.wgsl")
    }
}
