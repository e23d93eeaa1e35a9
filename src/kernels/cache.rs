//! Storage of keys and values: a row of elements for each position, in one of three formats.

use std::ops::Range;

use half::f16;
use serde::{Deserialize, Serialize};

use super::Buffer;

/// Largest finite f16; larger elements are stored as this one.
const MAX_F16: f32 = 65_504.0;
/// Elements with a common scale in [`CacheFormat::Q8`].
const GROUP: usize = 32;

/// Storage format of the KV cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "KvFormat"))]
pub enum CacheFormat {
    /// 32-bit floats, a word each.
    F32,
    /// 16-bit floats, two to a word, the first in the lower half.
    F16,
    /// Signed bytes with a 16-bit scale for each group of 32: first the bytes of a row, in whole
    /// groups, then the scales, two to a word.
    Q8,
}

impl CacheFormat {
    /// All formats.
    pub const ALL: [CacheFormat; 3] = [CacheFormat::F32, CacheFormat::F16, CacheFormat::Q8];

    /// Name in options.
    pub const fn name(self) -> &'static str {
        match self {
            CacheFormat::F32 => "f32",
            CacheFormat::F16 => "f16",
            CacheFormat::Q8 => "q8",
        }
    }

    /// Returns the format of that name.
    pub fn from_name(name: &str) -> Option<CacheFormat> {
        CacheFormat::ALL.into_iter().find(|format| format.name() == name)
    }
}

/// Format, width and order of the rows of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CacheRows {
    /// Format of the elements.
    pub format: CacheFormat,
    /// Elements of a row, `kv_head_count * head_dim`; a multiple of 4.
    pub width: u32,
    /// Ring of rows, if the cache holds the last positions only; `None` if position `p` is in row
    /// `p`.
    pub ring: Option<Ring>,
}

/// Rows of a cache that overwrites old positions: position `p` is in row `p % length`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ring {
    /// Rows, at least `window` and the rows of a step, less one: a step writes all of its rows
    /// before the first of them reads its window.
    pub length: u32,
    /// Last positions that a row sees, its own included.
    pub window: u32,
}

impl Ring {
    /// A ring for a window and steps of up to `step_rows` rows: of 1.5 windows at least, so that
    /// half a window can be generated anew.
    pub fn new(window: u32, step_rows: u32) -> Self {
        Self { length: window.saturating_add(step_rows.max(window / 2)), window }
    }

    /// True if a sequence that has reached position `reached` can continue at `position` instead:
    /// if the window of a row there has not been overwritten.
    pub fn holds(self, position: usize, reached: usize) -> bool {
        let oldest_held = reached.saturating_sub(self.length as usize);
        (position + 1).saturating_sub(self.window as usize) >= oldest_held
    }
}

/// The key cache or the value cache of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cache {
    /// Buffer of the rows.
    pub buffer: Buffer,
    /// Rows, `[context or ring, kv_head_count * head_dim]`.
    pub rows: CacheRows,
}

impl CacheRows {
    /// Words of a row.
    pub fn words(self) -> u64 {
        let width = u64::from(self.width);
        let groups = width.div_ceil(GROUP as u64);
        match self.format {
            CacheFormat::F32 => width,
            CacheFormat::F16 => width / 2,
            CacheFormat::Q8 => groups * 8 + groups.div_ceil(2),
        }
    }

    /// Length of the ring in rows; 0 if there is a row for each position.
    pub(crate) fn ring_length(self) -> u32 {
        self.ring.map_or(0, |ring| ring.length)
    }

    /// Row of a position.
    pub fn row_of(self, position: u32) -> u32 {
        self.ring.map_or(position, |ring| position % ring.length)
    }

    /// Rows of the last of these positions that the cache holds, oldest first, in two ranges: a
    /// ring's last row is followed by its first.
    pub fn rows_of(self, positions: Range<u32>) -> [Range<u32>; 2] {
        let Some(Ring { length, .. }) = self.ring else { return [positions, 0..0] };
        let count = (positions.end - positions.start).min(length);
        let first = (positions.end - count) % length;
        let end = length.min(first + count);
        [first..end, 0..first + count - end]
    }

    #[inline(always)]
    fn words_of(self, row: usize) -> Range<usize> {
        let words = self.words() as usize;
        row * words..(row + 1) * words
    }

    /// Reads elements of a row, from column `first` on. `first` and the number of elements are
    /// multiples of 4.
    #[inline(always)]
    pub(crate) fn read(self, words: &[f32], row: usize, first: usize, elements: &mut [f32]) {
        let words = &words[self.words_of(row)];
        match self.format {
            CacheFormat::F32 => elements.copy_from_slice(&words[first..][..elements.len()]),
            CacheFormat::F16 => {
                // The lower half of a word comes first in memory.
                let halves: &[u16] = bytemuck::cast_slice(words);
                for (element, bits) in elements.iter_mut().zip(&halves[first..]) {
                    *element = f16_to_f32(u16::from_le(*bits).into());
                }
            }
            CacheFormat::Q8 => {
                let scales = &words[(self.width as usize).div_ceil(GROUP) * 8..];
                for (i, quad) in elements.chunks_exact_mut(4).enumerate() {
                    let quad_index = first / 4 + i;
                    let group = quad_index / 8;
                    let scale = f16_to_f32(scales[group / 2].to_bits() >> (16 * (group % 2)));
                    let bytes = words[quad_index].to_bits().to_le_bytes();
                    for (element, byte) in quad.iter_mut().zip(bytes) {
                        *element = scale * f32::from(byte as i8);
                    }
                }
            }
        }
    }

    /// Writes a row, rounded to the format.
    pub fn write(self, words: &mut [f32], row: usize, elements: &[f32]) {
        self.write_row(&mut words[self.words_of(row)], elements);
    }

    /// Writes a row to its words, rounded to the format.
    pub(crate) fn write_row(self, words: &mut [f32], elements: &[f32]) {
        match self.format {
            CacheFormat::F32 => words.copy_from_slice(elements),
            CacheFormat::F16 => {
                for (word, pair) in words.iter_mut().zip(elements.chunks_exact(2)) {
                    *word = packed(f16_bits(pair[0]), f16_bits(pair[1]));
                }
            }
            CacheFormat::Q8 => {
                let (bytes, scales) = words.split_at_mut((self.width as usize).div_ceil(GROUP) * 8);
                let mut scale_bits = vec![0; 2 * scales.len()];
                let groups = elements.chunks(GROUP).zip(bytes.chunks_exact_mut(8));
                for ((elements, bytes), scale_bits) in groups.zip(&mut scale_bits) {
                    *scale_bits = write_group(elements, bytes);
                }
                for (word, pair) in scales.iter_mut().zip(scale_bits.chunks_exact(2)) {
                    *word = packed(pair[0], pair[1]);
                }
            }
        }
    }

    /// Returns the elements of all rows of `words`.
    pub fn decode(self, words: &[f32]) -> Vec<f32> {
        let width = self.width as usize;
        let mut elements = vec![0.0; words.len() / self.words() as usize * width];
        for (row, elements) in elements.chunks_exact_mut(width).enumerate() {
            self.read(words, row, 0, elements);
        }
        elements
    }
}

/// Writes a group of at most 32 elements as bytes; returns the bits of their scale.
fn write_group(elements: &[f32], words: &mut [f32]) -> u16 {
    let largest = elements.iter().fold(0.0f32, |largest, element| largest.max(element.abs()));
    let bits = f16_bits(largest / 127.0);
    let scale = f16_to_f32(bits.into());
    let byte = |element: &f32| match scale {
        0.0 => 0,
        _ => (element / scale).round_ties_even().clamp(-127.0, 127.0) as i8 as u8,
    };
    for (word, quad) in words.iter_mut().zip(elements.chunks_exact(4)) {
        *word = f32::from_bits(u32::from_le_bytes([0, 1, 2, 3].map(|i| byte(&quad[i]))));
    }
    bits
}

fn packed(low: u16, high: u16) -> f32 {
    f32::from_bits(u32::from(low) | u32::from(high) << 16)
}

/// Bits of the nearest finite f16.
fn f16_bits(value: f32) -> u16 {
    f16::from_f32(value.clamp(-MAX_F16, MAX_F16)).to_bits()
}

/// Widens the finite f16 in the lower half of a word: shifts exponent and mantissa to where f32 has
/// them and multiplies by the difference of the exponent biases, 2^112. Vectorizes without F16C.
#[inline(always)]
pub(crate) fn f16_to_f32(bits: u32) -> f32 {
    let sign = (bits & 0x8000) << 16;
    let size = f32::from_bits((bits & 0x7fff) << 13) * f32::from_bits((127 + 112) << 23);
    f32::from_bits(size.to_bits() | sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f16_conversion_is_exact() {
        for bits in (0..=u16::MAX).filter(|bits| bits & 0x7c00 != 0x7c00) {
            let expected = f16::from_bits(bits).to_f32();
            assert_eq!(f16_to_f32(bits.into()).to_bits(), expected.to_bits(), "{bits:#x}");
            assert_eq!(f16_bits(expected), bits, "{bits:#x}");
        }
    }

    #[test]
    fn cache_rows_round_trip_within_rounding() {
        // Widths that end within a group, and within a pair of scales.
        for width in [4, 64, 80, 96, 1024] {
            let elements: Vec<f32> =
                (0..width).map(|i| ((i * 37 + 11) % 101) as f32 - 50.0).collect();
            for (format, bound) in
                [(CacheFormat::F32, 0.0), (CacheFormat::F16, 0.0), (CacheFormat::Q8, 0.25)]
            {
                let rows = CacheRows { format, width, ring: None };
                let mut words = vec![0.0; 3 * rows.words() as usize];
                rows.write(&mut words, 1, &elements);
                let found = rows.decode(&words);
                let (before, rest) = found.split_at(width as usize);
                let (row, after) = rest.split_at(width as usize);
                assert!(before.iter().chain(after).all(|element| *element == 0.0), "{rows:?}");
                for (found, expected) in row.iter().zip(&elements) {
                    let error = (found - expected).abs();
                    assert!(error <= bound, "{rows:?}: {found} instead of {expected}");
                }
            }
        }
    }

    #[test]
    fn ring_holds_the_windows_of_its_last_positions() {
        let ring = Ring { length: 12, window: 5 };
        let rows = CacheRows { format: CacheFormat::F32, width: 4, ring: Some(ring) };
        assert_eq!(rows.rows_of(3..9), [3..9, 0..0]);
        assert_eq!(rows.rows_of(9..20), [9..12, 0..8]);
        assert_eq!(rows.rows_of(0..41), [5..12, 0..5]);
        assert_eq!(rows.rows_of(24..24), [0..0, 0..0]);
        for reached in 0..40usize {
            // The last position written in each row, by a sequence that was never cut back.
            let mut held = [None; 12];
            (0..reached).for_each(|position| held[position % 12] = Some(position));
            for position in 0..=reached {
                let mut window = position.saturating_sub(4)..position;
                let is_held = window.all(|seen| held[seen % 12] == Some(seen));
                // At position 0 a row sees no other, but what follows it might.
                let expected = is_held && (position > 0 || reached <= 12);
                assert_eq!(ring.holds(position, reached), expected, "{position} of {reached}");
            }
        }
    }

    #[test]
    fn cache_rows_clamp_elements_beyond_f16() {
        for format in CacheFormat::ALL {
            let rows = CacheRows { format, width: 4, ring: None };
            let mut words = vec![0.0; rows.words() as usize];
            rows.write(&mut words, 0, &[1e30, -1e30, 0.0, 1e-30]);
            let found = rows.decode(&words);
            assert!(found.iter().all(|element| element.is_finite()), "{format:?}: {found:?}");
            assert!(found[0] > 6e4 && found[1] < -6e4, "{format:?}: {found:?}");
        }
    }
}
