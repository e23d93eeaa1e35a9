//! Bit manipulation shared by the formats.
//!
//! Nibble order on the GPU: the 4-bit quants of a unit are four words. The low nibbles of word
//! `w` are weights `8w … 8w+3`, its high nibbles weights `8w+4 … 8w+7`, so that one mask and one
//! `unpack4xU8` yield four consecutive quants.

use half::f16;

/// Weights per unit: the part of a row that one call of a shader's `weights32` or `dot32`
/// unpacks. On the GPU, rows are padded with zero weights to whole units.
pub const UNIT: usize = 32;

/// Mask of the low nibbles of eight bytes.
const LOW: u64 = 0x0f0f_0f0f_0f0f_0f0f;
/// Bytes of a unit's nibbles.
pub(super) const NIBBLES: usize = UNIT / 2;
/// Mask of the lowest bit of each byte of a word.
pub(super) const BIT: u32 = 0x0101_0101;

/// Reads the little-endian word at byte `4 * index`.
pub(super) fn word(bytes: &[u8], index: usize) -> u32 {
    let at = 4 * index;
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Reads the little-endian u64 at byte `8 * index`.
pub(super) fn long(bytes: &[u8], index: usize) -> u64 {
    let mut long = [0; 8];
    long.copy_from_slice(&bytes[8 * index..][..8]);
    u64::from_le_bytes(long)
}

/// Writes a little-endian word at byte `4 * index`.
pub(super) fn put_word(bytes: &mut [u8], index: usize, value: u32) {
    bytes[4 * index..4 * index + 4].copy_from_slice(&value.to_le_bytes());
}

/// Reads the f16 at byte `at`.
pub(super) fn half_at(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

/// True if the f16 at byte `at` is neither NaN nor infinite.
pub(super) fn half_is_finite(bytes: &[u8], at: usize) -> bool {
    u16::from_le_bytes([bytes[at], bytes[at + 1]]) & 0x7c00 != 0x7c00
}

/// Reads 32 bytes as four u64.
pub(super) fn eights(bytes: &[u8]) -> [u64; 4] {
    std::array::from_fn(|i| long(bytes, i))
}

/// Writes the nibble words of a unit from the low nibbles of 32 bytes, one word per eight bytes.
pub(super) fn put_nibbles(unit: &mut [u8], eights: [u64; 4]) {
    for (w, eight) in eights.into_iter().enumerate() {
        let low = eight & LOW;
        put_word(unit, w, (low | (low >> 28)) as u32);
    }
}

/// Writes the nibble words of a unit from the high nibbles of 32 bytes.
pub(super) fn put_high_nibbles(unit: &mut [u8], eights: [u64; 4]) {
    put_nibbles(unit, eights.map(|eight| eight >> 4));
}

/// Writes the nibble words of a unit from 16 bytes whose nibbles are in order, the low one first.
pub(super) fn put_stream(unit: &mut [u8], bytes: &[u8]) {
    // Moves each of four nibbles to a byte of its own.
    let spread = |half: u32| {
        let pairs = (half | (half << 8)) & 0x00ff_00ff;
        (pairs | (pairs << 4)) & 0x0f0f_0f0f
    };
    for index in 0..bytes.len() / 4 {
        let stored = word(bytes, index);
        put_word(unit, index, spread(stored & 0xffff) | (spread(stored >> 16) << 4));
    }
}

/// Bytes of a unit's bit pairs.
pub(super) const PAIRS: usize = UNIT / 4;
/// Mask of the lowest two bits of eight bytes.
const TWO_BITS: u64 = 0x0303_0303_0303_0303;

/// Writes the two words of a unit's bit pairs from the lowest two bits of 32 bytes, one word per
/// sixteen bytes: bits `8i + 2k` of a word for its weight `4k + i`.
pub(super) fn put_pairs(words: &mut [u8], eights: [u64; 4]) {
    for (w, half) in eights.chunks_exact(2).enumerate() {
        let pairs = (half[0] & TWO_BITS) | ((half[1] & TWO_BITS) << 4);
        put_word(words, w, (pairs | (pairs >> 30)) as u32);
    }
}

/// The word of bit `bit` of 32 bytes: bit `8i + k` for byte `4k + i`.
pub(super) fn spread_bytes(bytes: &[u8], bit: usize) -> u32 {
    (0..8).fold(0, |spread, k| spread | (((word(bytes, k) >> bit) & BIT) << k))
}

/// Unpacks 16 bytes that hold quant `i` in the low and quant `16 + i` in the high nibble of byte
/// `i`.
pub(super) fn nibbles(bytes: &[u8]) -> [u8; 32] {
    let mut nibbles = [0; 32];
    let (low, high) = nibbles.split_at_mut(16);
    for ((low, high), byte) in low.iter_mut().zip(high).zip(bytes) {
        (*low, *high) = (byte & 15, byte >> 4);
    }
    nibbles
}

/// Unpacks five-bit quants: [`nibbles`] with bit `i` of `high` as the fifth bit of quant `i`.
pub(super) fn five_bits(bytes: &[u8], high: u32) -> [u8; 32] {
    let mut quants = nibbles(bytes);
    for (i, quant) in quants.iter_mut().enumerate() {
        *quant |= ((high >> i & 1) << 4) as u8;
    }
    quants
}

/// Writes the nibble words of a unit from 16 bytes in the order of [`nibbles`].
pub(super) fn put_block32(unit: &mut [u8], bytes: &[u8]) {
    let (first, last) = (long(bytes, 0), long(bytes, 1));
    put_nibbles(unit, [first, last, first >> 4, last >> 4]);
}

/// Moves bit `4k + i` to bit `8i + k`, so that one shift and one mask yield the bits of four
/// consecutive weights, one per byte.
pub(super) fn spread_bits(bits: u32) -> u32 {
    let mut spread = 0;
    for (pair, byte) in bits.to_le_bytes().into_iter().enumerate() {
        spread |= SPREAD[usize::from(byte)] << (2 * pair);
    }
    spread
}

/// [`spread_bits`] of each byte value: its bit `i` at bit `8i`, its bit `4 + i` at bit `8i + 1`.
const SPREAD: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        // The multiplication makes four copies of a nibble, seven bits apart: bit i of copy i is
        // at bit 8i.
        let (low, high) = (byte as u32 & 15, byte as u32 >> 4);
        table[byte] = ((low * 0x0020_4081) & BIT) | (((high * 0x0020_4081) & BIT) << 1);
        byte += 1;
    }
    table
};

/// Copies the f16 at byte `at` of each block into a plane, two per word.
pub(super) fn put_halves(plane: &mut [u8], blocks: std::slice::ChunksExact<'_, u8>, at: usize) {
    for (half, block) in plane.chunks_exact_mut(2).zip(blocks) {
        half.copy_from_slice(&block[at..at + 2]);
    }
}

/// Bytes of a plane row of `count` f16 numbers, two per word.
pub(super) fn halves_bytes(count: usize) -> usize {
    4 * count.div_ceil(2)
}

/// Number of units of a row, the last one padded.
pub(super) fn units(columns: usize) -> usize {
    columns.div_ceil(UNIT)
}

/// True if the f16 numbers at bytes `at` of each block of `block_bytes` bytes are finite.
pub(super) fn halves_are_finite<const N: usize>(
    stored: &[u8],
    block_bytes: usize,
    at: [usize; N],
) -> bool {
    all(stored.chunks_exact(block_bytes), |block| {
        at.iter().all(|&byte| half_is_finite(block, byte))
    })
}

/// True if the predicate holds for all blocks. Visits every block: without an early exit the loop
/// can be vectorized.
pub(super) fn all<'a>(
    blocks: impl Iterator<Item = &'a [u8]>,
    is_true: impl Fn(&[u8]) -> bool,
) -> bool {
    blocks.fold(true, |all, block| all & is_true(block))
}
