//! Byte and bit moves the formats share.
//!
//! A unit's 4-bit parts lie on the GPU as four words: the low nibbles of word `w` are the
//! weights `8w … 8w+3`, its high nibbles the weights `8w+4 … 8w+7`, so that one mask and one
//! `unpack4xU8` give four consecutive weights.

use half::f16;

use super::UNIT;

/// Every low nibble of eight bytes.
const LOW: u64 = 0x0f0f_0f0f_0f0f_0f0f;
/// Bytes of a unit's nibbles on the GPU.
pub(super) const NIBBLES: usize = UNIT / 2;
/// The lowest bit of every byte of a word.
pub(super) const BIT: u32 = 0x0101_0101;

/// The little-endian word at byte `4 * index`.
pub(super) fn word(bytes: &[u8], index: usize) -> u32 {
    let at = 4 * index;
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The little-endian number of eight bytes at byte `8 * index`.
pub(super) fn long(bytes: &[u8], index: usize) -> u64 {
    let mut long = [0; 8];
    long.copy_from_slice(&bytes[8 * index..][..8]);
    u64::from_le_bytes(long)
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

/// The first 32 bytes, eight at a time.
pub(super) fn eights(bytes: &[u8]) -> [u64; 4] {
    std::array::from_fn(|i| long(bytes, i))
}

/// Writes the four words of one unit from the low nibbles of 32 bytes: a word from eight.
pub(super) fn put_nibbles(unit: &mut [u8], eights: [u64; 4]) {
    for (w, eight) in eights.into_iter().enumerate() {
        let low = eight & LOW;
        put_word(unit, w, (low | (low >> 28)) as u32);
    }
}

/// The same from the high nibbles.
pub(super) fn put_high_nibbles(unit: &mut [u8], eights: [u64; 4]) {
    put_nibbles(unit, eights.map(|eight| eight >> 4));
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

/// Writes the four words of one unit from such a block.
pub(super) fn put_block32(unit: &mut [u8], bytes: &[u8]) {
    let (first, last) = (long(bytes, 0), long(bytes, 1));
    put_nibbles(unit, [first, last, first >> 4, last >> 4]);
}

/// Turns 32 bits, bit `4k + i` for weight `4k + i`, into the order of the GPU: bit `8i + k`,
/// so that one shift and one mask give the bits of four consecutive weights, a byte each.
pub(super) fn spread_bits(bits: u32) -> u32 {
    let mut spread = 0;
    for (pair, byte) in bits.to_le_bytes().into_iter().enumerate() {
        spread |= SPREAD[usize::from(byte)] << (2 * pair);
    }
    spread
}

/// Of every byte the bits as they are spread: four from bit 8i, four from bit 8i + 1 on.
const SPREAD: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        // Four copies of a nibble seven bits apart put its bit i at bit 8i.
        let (low, high) = (byte as u32 & 15, byte as u32 >> 4);
        table[byte] = ((low * 0x0020_4081) & BIT) | (((high * 0x0020_4081) & BIT) << 1);
        byte += 1;
    }
    table
};

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
pub(super) fn halves_are_finite<const N: usize>(
    stored: &[u8],
    block_bytes: usize,
    at: [usize; N],
) -> bool {
    all(stored.chunks_exact(block_bytes), |block| {
        at.iter().all(|&byte| half_is_finite(block, byte))
    })
}

/// Whether it is true of all blocks. Looks at every one, whatever it finds: without a way out a
/// compiler can use vectors.
pub(super) fn all<'a>(
    blocks: impl Iterator<Item = &'a [u8]>,
    is_true: impl Fn(&[u8]) -> bool,
) -> bool {
    blocks.fold(true, |all, block| all & is_true(block))
}
