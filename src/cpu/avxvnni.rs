//! Panels with AVX-VNNI: as with AVX2, and AVX-512's dot products of bytes in its registers.

use std::arch::x86_64::{_mm256_dpbusd_avx_epi32, _mm256_set1_epi32};

use super::avx2::{
    Floats, Ints, Quads, floats, halves, high, load, lookup, low, mul, mul_add, rows_of, splat,
    store,
};
pub(super) use super::avx2::{
    apply, attend, attend_together, convolve, float_products, round, scan_row, unpack,
};
use super::inputs::{InputBlock, Inputs};
use super::packed::{Halves, PANEL, Packed};
use super::tile::{CUBES, curves_of_rows, products};
use crate::formats::Integers;

products! { #[target_feature(enable = "avx2,f16c,fma,avxvnni")] }

#[target_feature(enable = "avx2,f16c,fma,avxvnni")]
#[inline]
fn dots<const BITS: usize>(zero: i32, sum: i32, quads: &[Quads], inputs: &[i32]) -> Ints {
    let mut sums = [_mm256_set1_epi32(-zero * sum); 2];
    for (quads, inputs) in quads.iter().zip(inputs) {
        let inputs = _mm256_set1_epi32(*inputs);
        for (sum, quads) in sums.iter_mut().zip(quads) {
            *sum = _mm256_dpbusd_avx_epi32(*sum, *quads, inputs);
        }
    }
    sums
}
