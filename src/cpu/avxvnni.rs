//! Micro-kernels with AVX-VNNI: AVX2 with the int8 dot products of AVX-512 VNNI.

use std::arch::x86_64::{_mm256_dpbusd_avx_epi32, _mm256_set1_epi32};

use super::avx2::{
    Floats, Ints, Quads, f16_to_f32, field, high, int_to_f32, load, load_floats, lookup, low, mul,
    mul_add, or, splat, store,
};
pub(super) use super::avx2::{
    apply, attend, attend_batch, convolve, convolve_gated, float_products, quantize, scan_row,
    unpack,
};
use super::inputs::{InputBlock, Inputs};
use super::integer_panels::{Halves, IntegerPanels, Line, PANEL};
use super::microkernel::{
    CUBES, CUBIC, LINEAR, NARROW_TABLE, SIGNS, TABLE, biased_table, curve_terms, products,
};

/// See [`super::microkernel`].
const WIDE_TILES: bool = true;

products! { #[target_feature(enable = "avx2,f16c,fma,avxvnni")] }

#[target_feature(enable = "avx2,f16c,fma,avxvnni")]
#[inline]
fn dots<const BITS: usize>(zero_point: i32, sum: i32, quads: &[Quads], inputs: &[i32]) -> Ints {
    let mut sums = [_mm256_set1_epi32(-zero_point * sum); 2];
    for (quads, inputs) in quads.iter().zip(inputs) {
        let inputs = _mm256_set1_epi32(*inputs);
        for (sum, quads) in sums.iter_mut().zip(quads) {
            *sum = _mm256_dpbusd_avx_epi32(*sum, *quads, inputs);
        }
    }
    sums
}
