//! Byte and bit moves the formats share.
//!
//! A unit's 4-bit parts lie on the GPU as four words: the low nibbles of word `w` are the
//! weights `8w … 8w+3`, its high nibbles the weights `8w+4 … 8w+7`, so that one mask and one
//! `unpack4xU8` give four consecutive weights.

use half::f16;

use super::UNIT;

/// Every low nibble of a word.
const LOW: u32 = 0x0f0f_0f0f;
/// The lowest bit of every byte of a word.
pub(super) const BIT: u32 = 0x0101_0101;
/// The lowest two bits of every byte of a word.
pub(super) const TWO_BITS: u32 = 0x0303_0303;

/// The little-endian word at byte `4 * index`.
pub(super) fn word(bytes: &[u8], index: usize) -> u32 {
    let at = 4 * index;
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Writes the little-endian word at byte `4 * index`.
pub(super) fn put_word(bytes: &mut [u8], index: usize, value: u32) {
    bytes[4 * index..4 * index + 4].copy_from_slice(&value.to_le_bytes());
}

/// The half-precision number at byte `at`, as f32 (exact).
pub(super) fn half_at(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

/// Whether the half-precision number at byte `at` is neither NaN nor infinite.
pub(super) fn half_is_finite(bytes: &[u8], at: usize) -> bool {
    u16::from_le_bytes([bytes[at], bytes[at + 1]]) & 0x7c00 != 0x7c00
}

/// Writes the four words of one unit from eight words of nibbles, four weights a word: with
/// `shift` 0 the low nibbles are taken, with 4 the high ones.
pub(super) fn put_nibbles(plane: &mut [u8], unit: usize, shift: u32, quads: [u32; 8]) {
    for w in 0..4 {
        let low = (quads[2 * w] >> shift) & LOW;
        let high = (quads[2 * w + 1] >> shift) & LOW;
        put_word(plane, 4 * unit + w, low | (high << 4));
    }
}

/// The 32 nibbles of a block whose 16 bytes hold weight `i` in the low and weight `16 + i` in the
/// high nibble of byte `i`.
pub(super) fn nibbles(bytes: &[u8]) -> [u8; 32] {
    let mut nibbles = [0; 32];
    let (low, high) = nibbles.split_at_mut(16);
    for ((low, high), byte) in low.iter_mut().zip(high).zip(bytes) {
        (*low, *high) = (byte & 15, byte >> 4);
    }
    nibbles
}

/// The same, and as a fifth bit of nibble `i` bit `i` of `high`.
pub(super) fn five_bits(bytes: &[u8], high: u32) -> [u8; 32] {
    let mut quants = nibbles(bytes);
    for (i, quant) in quants.iter_mut().enumerate() {
        *quant |= ((high >> i & 1) << 4) as u8;
    }
    quants
}

/// The eight words of nibbles of such a block, in order.
pub(super) fn block32_quads(bytes: &[u8]) -> [u32; 8] {
    let [a, b, c, d] = [word(bytes, 0), word(bytes, 1), word(bytes, 2), word(bytes, 3)];
    [a, b, c, d, a >> 4, b >> 4, c >> 4, d >> 4]
}

/// Turns 32 bits, bit `4k + i` for weight `4k + i`, into the order of the GPU: bit `8i + k`,
/// so that one shift and one mask give the bits of four consecutive weights, a byte each.
pub(super) fn spread_bits(bits: u32) -> u32 {
    let mut spread = 0;
    for k in 0..8 {
        let quad = (bits >> (4 * k)) & 0xf;
        // Four copies seven bits apart put bit i of the quad at bit 8i.
        spread |= ((quad * 0x0020_4081) & BIT) << k;
    }
    spread
}

/// Copies the half-precision number at byte `at` of every block into a plane, two to a word.
pub(super) fn put_halves(plane: &mut [u8], blocks: std::slice::ChunksExact<'_, u8>, at: usize) {
    for (half, block) in plane.chunks_exact_mut(2).zip(blocks) {
        half.copy_from_slice(&block[at..at + 2]);
    }
}

/// Bytes of a plane row that holds `count` halves, two to a word.
pub(super) fn halves_bytes(count: usize) -> usize {
    4 * count.div_ceil(2)
}

/// Units of a row.
pub(super) fn units(columns: usize) -> usize {
    columns.div_ceil(UNIT)
}

/// Whether the halves at the bytes `at` of every block, of `block_bytes` each, are finite.
pub(super) fn halves_are_finite<const N: usize>(stored: &[u8], block_bytes: usize, at: [usize; N]) -> bool {
    stored.chunks_exact(block_bytes).all(|block| at.iter().all(|&byte| half_is_finite(block, byte)))
}
