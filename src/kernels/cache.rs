//! Storage of keys and values: a row of numbers for each position, in one of three formats.

use std::ops::Range;

use half::f16;
use serde::{Deserialize, Serialize};

use super::Buffer;

/// Largest finite number in half precision; larger numbers are stored as this one.
const LARGEST_HALF: f32 = 65_504.0;
/// Numbers with a common scale in [`CacheFormat::Q8`].
const GROUP: usize = 32;

/// Storage format of the numbers of a cache.
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

/// Format and width of the rows of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CacheRows {
    /// Format of the numbers.
    pub format: CacheFormat,
    /// Numbers of a row, `kv_head_count * head_dim`; a multiple of 4.
    pub width: u32,
}

/// The key cache or the value cache of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cache {
    /// Buffer of the rows.
    pub buffer: Buffer,
    /// Rows, `[context, kv_head_count * head_dim]`.
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

    #[inline(always)]
    fn row(self, position: usize) -> Range<usize> {
        let words = self.words() as usize;
        position * words..(position + 1) * words
    }

    /// Reads the numbers from `first` on of the row of a position; both counts are multiples of 4.
    #[inline(always)]
    pub(crate) fn read(self, words: &[f32], position: usize, first: usize, numbers: &mut [f32]) {
        let words = &words[self.row(position)];
        match self.format {
            CacheFormat::F32 => numbers.copy_from_slice(&words[first..][..numbers.len()]),
            CacheFormat::F16 => {
                // The lower half of a word comes first in memory.
                let halves: &[u16] = bytemuck::cast_slice(words);
                for (number, bits) in numbers.iter_mut().zip(&halves[first..]) {
                    *number = half(u16::from_le(*bits).into());
                }
            }
            CacheFormat::Q8 => {
                let scales = &words[(self.width as usize).div_ceil(GROUP) * 8..];
                for (i, quad) in numbers.chunks_exact_mut(4).enumerate() {
                    let quad_index = first / 4 + i;
                    let group = quad_index / 8;
                    let scale = half(scales[group / 2].to_bits() >> (16 * (group % 2)));
                    for (number, byte) in
                        quad.iter_mut().zip(words[quad_index].to_bits().to_le_bytes())
                    {
                        *number = scale * f32::from(byte as i8);
                    }
                }
            }
        }
    }

    /// Writes the row of a position, rounded to the format.
    pub fn write(self, words: &mut [f32], position: usize, numbers: &[f32]) {
        self.write_row(&mut words[self.row(position)], numbers);
    }

    /// Writes a row to its words, rounded to the format.
    pub(crate) fn write_row(self, words: &mut [f32], numbers: &[f32]) {
        match self.format {
            CacheFormat::F32 => words.copy_from_slice(numbers),
            CacheFormat::F16 => {
                for (word, pair) in words.iter_mut().zip(numbers.chunks_exact(2)) {
                    *word = packed(half_bits(pair[0]), half_bits(pair[1]));
                }
            }
            CacheFormat::Q8 => {
                let (bytes, scales) = words.split_at_mut((self.width as usize).div_ceil(GROUP) * 8);
                let mut scale_bits = vec![0; 2 * scales.len()];
                let groups = numbers.chunks(GROUP).zip(bytes.chunks_exact_mut(8));
                for ((numbers, bytes), scale_bits) in groups.zip(&mut scale_bits) {
                    *scale_bits = write_group(numbers, bytes);
                }
                for (word, pair) in scales.iter_mut().zip(scale_bits.chunks_exact(2)) {
                    *word = packed(pair[0], pair[1]);
                }
            }
        }
    }

    /// Returns the numbers of all rows of `words`.
    pub fn numbers(self, words: &[f32]) -> Vec<f32> {
        let width = self.width as usize;
        let mut numbers = vec![0.0; words.len() / self.words() as usize * width];
        for (position, row) in numbers.chunks_exact_mut(width).enumerate() {
            self.read(words, position, 0, row);
        }
        numbers
    }
}

/// Writes a group of at most 32 numbers as bytes; returns the bits of their scale.
fn write_group(numbers: &[f32], words: &mut [f32]) -> u16 {
    let largest = numbers.iter().fold(0.0f32, |largest, number| largest.max(number.abs()));
    let bits = half_bits(largest / 127.0);
    let scale = half(bits.into());
    let byte = |number: &f32| match scale {
        0.0 => 0,
        _ => (number / scale).round_ties_even().clamp(-127.0, 127.0) as i8 as u8,
    };
    for (word, quad) in words.iter_mut().zip(numbers.chunks_exact(4)) {
        *word = f32::from_bits(u32::from_le_bytes([0, 1, 2, 3].map(|i| byte(&quad[i]))));
    }
    bits
}

fn packed(low: u16, high: u16) -> f32 {
    f32::from_bits(u32::from(low) | u32::from(high) << 16)
}

fn half_bits(number: f32) -> u16 {
    f16::from_f32(number.clamp(-LARGEST_HALF, LARGEST_HALF)).to_bits()
}

/// The finite half-precision number in the lower half of a word: its bits shifted to the exponent
/// and mantissa of an `f32`, times the ratio of the exponents' biases.
#[inline(always)]
fn half(bits: u32) -> f32 {
    let sign = (bits & 0x8000) << 16;
    let size = f32::from_bits((bits & 0x7fff) << 13) * f32::from_bits((127 + 112) << 23);
    f32::from_bits(size.to_bits() | sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_exact() {
        for bits in (0..=u16::MAX).filter(|bits| bits & 0x7c00 != 0x7c00) {
            let expected = f16::from_bits(bits).to_f32();
            assert_eq!(half(bits.into()).to_bits(), expected.to_bits(), "{bits:#x}");
            assert_eq!(half_bits(expected), bits, "{bits:#x}");
        }
    }

    #[test]
    fn rows_keep_their_numbers() {
        // Widths that end within a group, and within a pair of scales.
        for width in [4, 64, 80, 96, 1024] {
            let numbers: Vec<f32> =
                (0..width).map(|i| ((i * 37 + 11) % 101) as f32 - 50.0).collect();
            for (format, bound) in
                [(CacheFormat::F32, 0.0), (CacheFormat::F16, 0.0), (CacheFormat::Q8, 0.25)]
            {
                let rows = CacheRows { format, width };
                let mut words = vec![0.0; 3 * rows.words() as usize];
                rows.write(&mut words, 1, &numbers);
                let found = rows.numbers(&words);
                let (before, rest) = found.split_at(width as usize);
                let (row, after) = rest.split_at(width as usize);
                assert!(before.iter().chain(after).all(|number| *number == 0.0), "{rows:?}");
                for (found, expected) in row.iter().zip(&numbers) {
                    assert!(
                        (found - expected).abs() <= bound,
                        "{rows:?}: {found} instead of {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn numbers_out_of_range_stay_finite() {
        for format in CacheFormat::ALL {
            let rows = CacheRows { format, width: 4 };
            let mut words = vec![0.0; rows.words() as usize];
            rows.write(&mut words, 0, &[1e30, -1e30, 0.0, 1e-30]);
            let found = rows.numbers(&words);
            assert!(found.iter().all(|number| number.is_finite()), "{format:?}: {found:?}");
            assert!(found[0] > 6e4 && found[1] < -6e4, "{format:?}: {found:?}");
        }
    }
}
