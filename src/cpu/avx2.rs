//! Micro-kernels with AVX2: two registers hold four columns of all sixteen rows.
//!
//! `vpmaddubsw` multiplies unsigned by signed bytes and adds pairs to sixteen bits. Eight such sums
//! of 4-bit quants fit into sixteen bits, but only two of 6-bit quants, one of 7-bit quants, and
//! one of 8-bit quants only if the quants' signs are moved to the inputs.

use std::arch::x86_64::{
    __m128i, __m256, __m256i, _mm256_abs_epi8, _mm256_add_epi16, _mm256_add_epi32,
    _mm256_and_si256, _mm256_broadcastsi128_si256, _mm256_cvtepi32_ps, _mm256_cvtph_ps,
    _mm256_fmadd_ps, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_mul_ps, _mm256_or_si256,
    _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_si256,
    _mm256_shuffle_epi8, _mm256_sign_epi8, _mm256_srli_epi16, _mm256_xor_si256,
};

use bytemuck::must_cast;

use super::float_panels::{FloatPanels, bf16_to_f32, float_products};
use super::inputs::{InputBlock, Inputs};
use super::integer_panels::{Halves, IntegerPanels, Line, PANEL};
use super::loops::vectorized_loops;
use super::microkernel::{
    CUBES, CUBIC, LINEAR, NARROW_TABLE, SIGNS, TABLE, biased_table, curve_terms, products,
};
use crate::formats::{FloatKind, UNIT};

pub(super) type Quads = [__m256i; 2];
pub(super) type Ints = [__m256i; 2];
pub(super) type Floats = [__m256; 2];

/// Input rows of a float micro-kernel, see [`super::float_panels`].
const FLOAT_ROWS: usize = 4;
/// See [`super::loops`].
const WIDENS: bool = true;
/// Attention queries computed together, see [`super::loops`].
const QUERIES: usize = 4;

/// See [`super::microkernel`].
const WIDE_TILES: bool = true;

products! { #[target_feature(enable = "avx2,f16c,fma")] }
float_products! { #[target_feature(enable = "avx2,f16c,fma")] }
vectorized_loops! { #[target_feature(enable = "avx2,f16c,fma")] }

#[target_feature(enable = "avx2,f16c,fma")]
#[inline]
pub(super) fn load(line: &Line) -> Quads {
    must_cast(*line)
}

#[target_feature(enable = "avx2,f16c,fma")]
#[inline]
pub(super) fn low([first, last]: Quads) -> Quads {
    let mask = _mm256_set1_epi8(15);
    [_mm256_and_si256(first, mask), _mm256_and_si256(last, mask)]
}

#[target_feature(enable = "avx2,f16c,fma")]
#[inline]
pub(super) fn high([first, last]: Quads) -> Quads {
    low([_mm256_srli_epi16::<4>(first), _mm256_srli_epi16::<4>(last)])
}

#[target_feature(enable = "avx2,f16c,fma")]
#[inline]
pub(super) fn or(a: Quads, b: Quads) -> Quads {
    [_mm256_or_si256(a[0], b[0]), _mm256_or_si256(a[1], b[1])]
}

#[target_feature(enable = "avx2,f16c,fma")]
#[inline]
pub(super) fn field<const SHIFT: i32>([first, last]: Quads, mask: i8) -> Quads {
    let mask = _mm256_set1_epi8(mask);
    [
        _mm256_and_si256(_mm256_srli_epi16::<SHIFT>(first), mask),
        _mm256_and_si256(_mm256_srli_epi16::<SHIFT>(last), mask),
    ]
}

#[target_feature(enable = "avx2,f16c,fma")]
#[inline]
fn dots<const BITS: usize>(zero_point: i32, sum: i32, quads: &[Quads], inputs: &[i32]) -> Ints {
    if BITS == 4 {
        let mut sums = [_mm256_setzero_si256(); 2];
        for (quads, inputs) in quads.iter().zip(inputs) {
            let inputs = _mm256_set1_epi32(*inputs);
            for (sum, quads) in sums.iter_mut().zip(quads) {
                *sum = _mm256_add_epi16(*sum, _mm256_maddubs_epi16(*quads, inputs));
            }
        }
        let start = _mm256_set1_epi32(-zero_point * sum);
        let ones = _mm256_set1_epi16(1);
        return [
            _mm256_add_epi32(start, _mm256_madd_epi16(sums[0], ones)),
            _mm256_add_epi32(start, _mm256_madd_epi16(sums[1], ones)),
        ];
    }
    if BITS == 6 {
        let mut sums = [_mm256_set1_epi32(-zero_point * sum); 2];
        for (two, inputs) in quads.chunks_exact(2).zip(inputs.chunks_exact(2)) {
            let inputs = [_mm256_set1_epi32(inputs[0]), _mm256_set1_epi32(inputs[1])];
            for (part, sum) in sums.iter_mut().enumerate() {
                let pairs = _mm256_add_epi16(
                    _mm256_maddubs_epi16(two[0][part], inputs[0]),
                    _mm256_maddubs_epi16(two[1][part], inputs[1]),
                );
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
            }
        }
        return sums;
    }
    if BITS == 7 {
        let mut sums = [_mm256_set1_epi32(-zero_point * sum); 2];
        for (quads, inputs) in quads.iter().zip(inputs) {
            let inputs = _mm256_set1_epi32(*inputs);
            for (sum, quads) in sums.iter_mut().zip(quads) {
                let pairs = _mm256_maddubs_epi16(*quads, inputs);
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
            }
        }
        return sums;
    }
    let mut sums = [_mm256_set1_epi32((128 - zero_point) * sum); 2];
    for (quads, inputs) in quads.iter().zip(inputs) {
        let inputs = _mm256_set1_epi32(*inputs);
        for (sum, quads) in sums.iter_mut().zip(quads) {
            let quads = _mm256_xor_si256(*quads, _mm256_set1_epi8(-128));
            let pairs =
                _mm256_maddubs_epi16(_mm256_abs_epi8(quads), _mm256_sign_epi8(inputs, quads));
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
        }
    }
    sums
}

#[target_feature(enable = "avx2,f16c,fma")]
#[inline]
pub(super) fn f16_to_f32(halves: &Halves) -> Floats {
    let [first, last]: [__m128i; 2] = must_cast(*halves);
    [_mm256_cvtph_ps(first), _mm256_cvtph_ps(last)]
}

#[target_feature(enable = "avx2,f16c,fma")]
#[inline]
pub(super) fn int_to_f32([first, last]: Ints) -> Floats {
    [_mm256_cvtepi32_ps(first), _mm256_cvtepi32_ps(last)]
}

#[target_feature(enable = "avx2,f16c,fma")]
#[inline]
pub(super) fn splat(number: f32) -> Floats {
    [_mm256_set1_ps(number); 2]
}

#[target_feature(enable = "avx2,f16c,fma")]
#[inline]
pub(super) fn mul(a: Floats, b: Floats) -> Floats {
    [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])]
}

#[target_feature(enable = "avx2,f16c,fma")]
#[inline]
pub(super) fn mul_add(a: Floats, b: Floats, c: Floats) -> Floats {
    [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])]
}

#[target_feature(enable = "avx2,f16c,fma")]
#[inline]
pub(super) fn store(floats: Floats) -> [f32; PANEL] {
    must_cast(floats)
}

#[target_feature(enable = "avx2,f16c,fma")]
#[inline]
pub(super) fn lookup(table: &[u8; 16], quads: Quads) -> Quads {
    let table = _mm256_broadcastsi128_si256(must_cast(*table));
    [_mm256_shuffle_epi8(table, quads[0]), _mm256_shuffle_epi8(table, quads[1])]
}

#[target_feature(enable = "avx2,f16c,fma")]
#[inline]
pub(super) fn load_floats(numbers: [f32; PANEL]) -> Floats {
    must_cast(numbers)
}

#[target_feature(enable = "avx2,f16c,fma")]
#[inline]
fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
    a.mul_add(b, c)
}
