//! Micro-kernels with NEON's int8 dot products (ARMv8.2, 2018): one instruction for four columns
//! of four rows. Its intrinsic is not stable in Rust, so it is inline assembly.

use std::arch::aarch64::{int8x16_t, int32x4_t, vdupq_n_s32, vreinterpretq_s8_s32};
use std::arch::asm;

use super::inputs::{InputBlock, Inputs};
use super::integer_panels::{Halves, IntegerPanels, Line, PANEL};
use super::microkernel::{
    CUBES, CUBIC, LINEAR, NARROW_TABLE, SIGNS, TABLE, biased_table, curve_terms, products,
};
use super::neon::{
    Floats, Ints, Quads, f16_to_f32, field, high, int_to_f32, load, load_floats, lookup, low, mul,
    mul_add, or, signed, splat, start, store,
};

/// See [`super::microkernel`].
const WIDE_TILES: bool = true;

products! { #[target_feature(enable = "dotprod")] }

#[target_feature(enable = "dotprod")]
#[inline]
fn dots<const BITS: usize>(zero_point: i32, sum: i32, quads: &[Quads], inputs: &[i32]) -> Ints {
    let mut sums = [start::<BITS>(zero_point, sum); 4];
    for (quads, x) in quads.iter().zip(inputs) {
        let x = vreinterpretq_s8_s32(vdupq_n_s32(*x));
        for (sum, quad) in sums.iter_mut().zip(quads) {
            *sum = dot(*sum, signed::<BITS>(*quad), x);
        }
    }
    sums
}

/// `SDOT`: adds the dot product of four signed bytes to each lane.
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
