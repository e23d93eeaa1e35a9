//! Q4_K: super-blocks of 256 weights, eight groups of 32 four-bit quants with a six-bit scale and
//! a six-bit minimum each; weight = quant · (d · scale) − (dmin · minimum). Source: ggml.
//!
//! Stored block, 144 bytes: f16 d, f16 dmin, 12 bytes of packed scales and minima ([`Scales`]),
//! 128 bytes of quants. In each 32 of those, the low nibbles are one group, the high nibbles the
//! next.
//!
//! Plane 0 (`vec4<u32>`, one per unit): nibbles in the order of [`bits`]. Plane 1 (`vec4<u32>`, one
//! per block): [`Scales::put`].

use super::bits;
use super::integers::{IntegerQuants, IntegerUnit};
use super::rules::WeightFormat;

const BYTES: usize = 144;
/// Weights per super-block.
pub(super) const WEIGHTS: usize = 256;
/// Bytes of a super-block's nibbles.
pub(super) const BLOCK_NIBBLES: usize = WEIGHTS / 2;

pub(super) struct Q4K;

/// Scales and minima of a Q4_K or Q5_K super-block, unpacked.
pub(super) struct Scales {
    /// d and dmin as stored: two f16.
    halves: u32,
    /// Six-bit scale of each group.
    scales: [u8; 8],
    /// Six-bit minimum of each group.
    minima: [u8; 8],
}

impl Scales {
    /// Unpacks the first 16 bytes of a super-block. After d and dmin, four bytes hold scales 0–3
    /// and four bytes minima 0–3 in their low six bits. Groups 4–7 have their low four bits in the
    /// last four bytes (scale low, minimum high) and their high two bits in the top bits of the
    /// eight bytes before.
    pub(super) fn read(block: &[u8]) -> Scales {
        let packed = &block[4..16];
        let (mut scales, mut minima) = ([0; 8], [0; 8]);
        for j in 0..4 {
            let (a, b, c) = (packed[j], packed[4 + j], packed[8 + j]);
            scales[j] = a & 63;
            minima[j] = b & 63;
            scales[4 + j] = (c & 15) | ((a >> 6) << 4);
            minima[4 + j] = (c >> 4) | ((b >> 6) << 4);
        }
        Scales { halves: bits::word(block, 0), scales, minima }
    }

    /// Scale and minimum of a group: `(d · scale, dmin · minimum)`.
    pub(super) fn group(&self, block: &[u8], group: usize) -> (f32, f32) {
        let (d, dmin) = (bits::half_at(block, 0), bits::half_at(block, 2));
        (d * f32::from(self.scales[group]), dmin * f32::from(self.minima[group]))
    }

    /// Writes the four words of the GPU plane: d and dmin; two words with one byte per group, the
    /// low four bits of its scale below those of its minimum; one word with one nibble per group,
    /// the high two bits of its scale below those of its minimum.
    pub(super) fn put(&self, bytes: &mut [u8]) {
        let mut words = [self.halves, 0, 0, 0];
        for group in 0..8 {
            let (scale, minimum) = (u32::from(self.scales[group]), u32::from(self.minima[group]));
            words[1 + group / 4] |= ((scale & 15) | ((minimum & 15) << 4)) << (8 * (group % 4));
            words[3] |= ((scale >> 4) | ((minimum >> 4) << 2)) << (4 * group);
        }
        for (w, word) in words.into_iter().enumerate() {
            bits::put_word(bytes, w, word);
        }
    }
}

/// Writes the nibble words of a super-block's eight units: in each 32 stored bytes, the low nibbles
/// are one unit, the high nibbles the next.
pub(super) fn put_block_nibbles(units: &mut [u8], bytes: &[u8]) {
    for (pair, bytes) in units.chunks_exact_mut(2 * bits::NIBBLES).zip(bytes.chunks_exact(32)) {
        let (low, high) = pair.split_at_mut(bits::NIBBLES);
        let eights = bits::eights(bytes);
        bits::put_nibbles(low, eights);
        bits::put_high_nibbles(high, eights);
    }
}

impl WeightFormat for Q4K {
    fn block_weights(&self) -> usize {
        WEIGHTS
    }

    fn block_bytes(&self) -> usize {
        BYTES
    }

    fn dequantize_row(&self, stored: &[u8], out: &mut [f32]) {
        for (values, block) in out.chunks_exact_mut(WEIGHTS).zip(stored.chunks_exact(BYTES)) {
            let scales = Scales::read(block);
            for (group, values) in values.chunks_exact_mut(32).enumerate() {
                let (scale, minimum) = scales.group(block, group);
                let (bytes, shift) = (&block[16 + 32 * (group / 2)..], 4 * (group % 2));
                for (value, &byte) in values.iter_mut().zip(bytes) {
                    *value = scale * f32::from((byte >> shift) & 15) - minimum;
                }
            }
        }
    }

    fn integers(&self) -> Option<IntegerQuants> {
        IntegerQuants::nibbles(None)
    }

    fn integer_units(&self, stored: &[u8], units: &mut [IntegerUnit]) {
        for (units, block) in units.chunks_mut(8).zip(stored.chunks_exact(BYTES)) {
            let scales = Scales::read(block);
            for (group, unit) in units.iter_mut().enumerate() {
                let (scale, minimum) = scales.group(block, group);
                let mut quants = [0; 32];
                for (quant, byte) in quants.iter_mut().zip(&block[16 + 32 * (group / 2)..]) {
                    *quant = (byte >> (4 * (group % 2))) & 15;
                }
                *unit = IntegerUnit::new(quants, scale, -minimum);
            }
        }
    }

    fn plane_row_bytes(&self, columns: usize) -> Vec<usize> {
        let units = bits::units(columns);
        vec![units * 16, units.div_ceil(8) * 16]
    }

    fn repack_row(&self, _columns: usize, stored: &[u8], planes: &mut [&mut [u8]]) {
        let [nibbles, scales] = planes else { return };
        let blocks = nibbles.chunks_exact_mut(BLOCK_NIBBLES).zip(scales.chunks_exact_mut(16));
        for ((nibbles, scales), block) in blocks.zip(stored.chunks_exact(BYTES)) {
            Scales::read(block).put(scales);
            put_block_nibbles(nibbles, &block[16..]);
        }
    }

    fn is_finite(&self, stored: &[u8]) -> bool {
        bits::halves_are_finite(stored, BYTES, [0, 2])
    }

    fn quant_bits(&self) -> Option<u32> {
        Some(4)
    }

    fn shader(&self) -> &'static str {
        include_wgsl!("../../shaders/formats/q4_k.wgsl")
    }
}
