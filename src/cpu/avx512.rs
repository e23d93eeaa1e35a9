//! Micro-kernels with AVX-512 and its int8 dot products: one register holds four columns of all
//! sixteen rows.

use std::arch::x86_64::{
    __m512, __m512i, _mm512_and_si512, _mm512_broadcast_i32x4, _mm512_cvtepi32_ps, _mm512_cvtph_ps,
    _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_mul_ps, _mm512_or_si512, _mm512_set1_epi8,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_shuffle_epi8, _mm512_srli_epi16,
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

type Quads = __m512i;
type Ints = __m512i;
type Floats = __m512;

/// Input rows of a float micro-kernel, see [`super::float_panels`].
const FLOAT_ROWS: usize = 8;
/// See [`super::loops`].
const WIDENS: bool = true;
/// Attention queries computed together, see [`super::loops`].
const QUERIES: usize = 8;

/// See [`super::microkernel`].
const WIDE_TILES: bool = true;

products! { #[target_feature(enable = "avx512f,avx512bw,avx512vnni")] }
float_products! { #[target_feature(enable = "avx512f,avx512bw,avx512vnni")] }
vectorized_loops! { #[target_feature(enable = "avx512f,avx512bw,avx512vnni")] }

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn load(line: &Line) -> Quads {
    must_cast(*line)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn low(quads: Quads) -> Quads {
    _mm512_and_si512(quads, _mm512_set1_epi8(15))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn high(quads: Quads) -> Quads {
    low(_mm512_srli_epi16::<4>(quads))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn or(a: Quads, b: Quads) -> Quads {
    _mm512_or_si512(a, b)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn field<const SHIFT: u32>(quads: Quads, mask: i8) -> Quads {
    _mm512_and_si512(_mm512_srli_epi16::<SHIFT>(quads), _mm512_set1_epi8(mask))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn dots<const BITS: usize>(zero_point: i32, sum: i32, quads: &[Quads], inputs: &[i32]) -> Ints {
    let mut sums = _mm512_set1_epi32(-zero_point * sum);
    for (quads, inputs) in quads.iter().zip(inputs) {
        sums = _mm512_dpbusd_epi32(sums, *quads, _mm512_set1_epi32(*inputs));
    }
    sums
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn f16_to_f32(halves: &Halves) -> Floats {
    _mm512_cvtph_ps(must_cast(*halves))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn int_to_f32(ints: Ints) -> Floats {
    _mm512_cvtepi32_ps(ints)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn splat(number: f32) -> Floats {
    _mm512_set1_ps(number)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn mul(a: Floats, b: Floats) -> Floats {
    _mm512_mul_ps(a, b)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn mul_add(a: Floats, b: Floats, c: Floats) -> Floats {
    _mm512_fmadd_ps(a, b, c)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn store(floats: Floats) -> [f32; PANEL] {
    must_cast(floats)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn lookup(table: &[u8; 16], quads: Quads) -> Quads {
    _mm512_shuffle_epi8(_mm512_broadcast_i32x4(must_cast(*table)), quads)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn load_floats(numbers: [f32; PANEL]) -> Floats {
    must_cast(numbers)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
    a.mul_add(b, c)
}
