//! Panels with NEON's dot products of bytes, which ARM processors have since 2018: one instruction for four
//! columns of four rows. Rust's library has a function for it that is not stable; an assembler has had it for
//! long.

use std::arch::aarch64::{int8x16_t, int32x4_t, vdupq_n_s32, vreinterpretq_s8_s32};
use std::arch::asm;

use super::inputs::{InputBlock, Inputs};
use super::neon::{
    Floats, Ints, Quads, floats, halves, high, load, lookup, low, mul, mul_add, rows_of, signed,
    splat, start, store,
};
use super::packed::{Halves, PANEL, Packed};
use super::tile::{CUBES, curves_of_rows, products};
use crate::formats::Integers;

products! { #[target_feature(enable = "dotprod")] }

#[target_feature(enable = "dotprod")]
#[inline]
fn dots<const BITS: usize>(zero: i32, sum: i32, quads: &[Quads], inputs: &[i32]) -> Ints {
    let mut sums = [start::<BITS>(zero, sum); 4];
    for (quads, x) in quads.iter().zip(inputs) {
        let x = vreinterpretq_s8_s32(vdupq_n_s32(*x));
        for (sum, quad) in sums.iter_mut().zip(quads) {
            *sum = dot(*sum, signed::<BITS>(*quad), x);
        }
    }
    sums
}

/// Adds the product of four bytes to each number.
#[target_feature(enable = "dotprod")]
#[inline]
#[allow(unsafe_code, reason = "an instruction that touches nothing but its registers")]
fn dot(mut sums: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    unsafe {
        asm!(
            "sdot {sums:v}.4s, {a:v}.16b, {b:v}.16b",
            sums = inout(vreg) sums,
            a = in(vreg) a,
            b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}
