//! Micro-kernels with NEON, which every 64-bit ARM processor has: four registers hold four columns
//! of all sixteen rows.
//!
//! `vmlal_s8` multiplies signed bytes to sixteen bits, which hold the sums of a whole block of
//! 4-bit quants, but only of four products of 6-bit quants and of two of 8-bit quants.
//! [`super::dotprod`] shares all functions but `dots`.

use std::arch::aarch64::{
    float32x4_t, int8x16_t, int16x8_t, int32x4_t, uint8x16_t, vaddq_s32, vandq_s32, vandq_u8,
    vcvtq_f32_s32, vdupq_n_f32, vdupq_n_s8, vdupq_n_s16, vdupq_n_s32, vdupq_n_u8, veorq_u8,
    vfmaq_f32, vget_high_s16, vget_low_s8, vget_low_s16, vmlal_high_s8, vmlal_s8, vmulq_f32,
    vorrq_u8, vpadalq_s16, vpaddq_s32, vqtbl1q_u8, vreinterpretq_f32_s32, vreinterpretq_s8_s32,
    vreinterpretq_s8_u8, vshll_n_s16, vshlq_u8, vshrq_n_u8,
};

use bytemuck::must_cast;

use super::inputs::{InputBlock, Inputs};
use super::integer_panels::{Halves, IntegerPanels, Line, PANEL};
use super::microkernel::{
    CUBES, CUBIC, LINEAR, NARROW_TABLE, SIGNS, TABLE, biased_table, curve_terms, products,
};

/// Registers that hold four columns of a panel.
const PARTS: usize = 4;

pub(super) type Quads = [uint8x16_t; PARTS];
pub(super) type Ints = [int32x4_t; PARTS];
pub(super) type Floats = [float32x4_t; PARTS];

/// See [`super::microkernel`].
const WIDE_TILES: bool = true;

products! { #[target_feature(enable = "neon")] }

#[target_feature(enable = "neon")]
#[inline]
pub(super) fn load(line: &Line) -> Quads {
    must_cast(*line)
}

#[target_feature(enable = "neon")]
#[inline]
pub(super) fn low(quads: Quads) -> Quads {
    quads.map(|part| vandq_u8(part, vdupq_n_u8(15)))
}

#[target_feature(enable = "neon")]
#[inline]
pub(super) fn high(quads: Quads) -> Quads {
    quads.map(|part| vshrq_n_u8::<4>(part))
}

#[target_feature(enable = "neon")]
#[inline]
pub(super) fn or(a: Quads, b: Quads) -> Quads {
    std::array::from_fn(|part| vorrq_u8(a[part], b[part]))
}

#[target_feature(enable = "neon")]
#[inline]
pub(super) fn field<const SHIFT: i32>(quads: Quads, mask: i8) -> Quads {
    // A shift by a negative count is to the right.
    let (count, mask) = (vdupq_n_s8(-(SHIFT as i8)), vdupq_n_u8(mask.cast_unsigned()));
    quads.map(|part| vandq_u8(vshlq_u8(part, count), mask))
}

/// Converts unsigned bytes to signed ones by subtracting 128; those below 128 stay as they are.
#[target_feature(enable = "neon")]
#[inline]
pub(super) fn signed<const BITS: usize>(part: uint8x16_t) -> int8x16_t {
    vreinterpretq_s8_u8(if BITS < 8 { part } else { veorq_u8(part, vdupq_n_u8(128)) })
}

/// Initial value of the sums: the zero point's contribution, corrected for [`signed`].
#[target_feature(enable = "neon")]
#[inline]
pub(super) fn start<const BITS: usize>(zero_point: i32, sum: i32) -> int32x4_t {
    vdupq_n_s32((if BITS < 8 { -zero_point } else { 128 - zero_point }) * sum)
}

#[target_feature(enable = "neon")]
#[inline]
fn dots<const BITS: usize>(zero_point: i32, sum: i32, quads: &[Quads], inputs: &[i32]) -> Ints {
    // Quads whose products fit a sixteen-bit sum.
    let per_sum = match BITS {
        4 => 8,
        6 => 4,
        _ => 2,
    };
    // Per register: sums of its first and of its last two rows, over pairs of columns.
    let mut sums = [[vdupq_n_s32(0); 2]; PARTS];
    for (quads, inputs) in quads.chunks(per_sum).zip(inputs.chunks(per_sum)) {
        for (part, sums) in sums.iter_mut().enumerate() {
            let mut shorts = [vdupq_n_s16(0); 2];
            for (quad, x) in quads.iter().zip(inputs) {
                let (quad, x) = (signed::<BITS>(quad[part]), vreinterpretq_s8_s32(vdupq_n_s32(*x)));
                shorts[0] = vmlal_s8(shorts[0], vget_low_s8(quad), vget_low_s8(x));
                shorts[1] = vmlal_high_s8(shorts[1], quad, x);
            }
            for (sum, shorts) in sums.iter_mut().zip(shorts) {
                *sum = vpadalq_s16(*sum, shorts);
            }
        }
    }
    sums.map(|[first, last]| vaddq_s32(start::<BITS>(zero_point, sum), vpaddq_s32(first, last)))
}

/// Widens finite f16 numbers: shifts exponent and mantissa to where f32 has them and multiplies by
/// the difference of the exponent biases, 2^112.
#[target_feature(enable = "neon")]
#[inline]
pub(super) fn f16_to_f32(halves: &Halves) -> Floats {
    let [first, last]: [int16x8_t; 2] = must_cast(*halves);
    [vget_low_s16(first), vget_high_s16(first), vget_low_s16(last), vget_high_s16(last)].map(
        |bits| {
            // Clears the copies of the sign bit that sign extension left below it.
            let bits =
                vandq_s32(vshll_n_s16::<13>(bits), vdupq_n_s32(0x8fff_ffff_u32.cast_signed()));
            vmulq_f32(vreinterpretq_f32_s32(bits), vdupq_n_f32(f32::from_bits((127 + 112) << 23)))
        },
    )
}

#[target_feature(enable = "neon")]
#[inline]
pub(super) fn int_to_f32(ints: Ints) -> Floats {
    ints.map(|part| vcvtq_f32_s32(part))
}

#[target_feature(enable = "neon")]
#[inline]
pub(super) fn splat(number: f32) -> Floats {
    [vdupq_n_f32(number); PARTS]
}

#[target_feature(enable = "neon")]
#[inline]
pub(super) fn mul(a: Floats, b: Floats) -> Floats {
    std::array::from_fn(|part| vmulq_f32(a[part], b[part]))
}

#[target_feature(enable = "neon")]
#[inline]
pub(super) fn mul_add(a: Floats, b: Floats, c: Floats) -> Floats {
    std::array::from_fn(|part| vfmaq_f32(c[part], a[part], b[part]))
}

#[target_feature(enable = "neon")]
#[inline]
pub(super) fn store(floats: Floats) -> [f32; PANEL] {
    must_cast(floats)
}

#[target_feature(enable = "neon")]
#[inline]
pub(super) fn lookup(table: &[u8; 16], quads: Quads) -> Quads {
    let table: uint8x16_t = must_cast(*table);
    quads.map(|part| vqtbl1q_u8(table, part))
}

#[target_feature(enable = "neon")]
#[inline]
pub(super) fn load_floats(numbers: [f32; PANEL]) -> Floats {
    must_cast(numbers)
}
