//! Micro-kernels without specific instructions: loops that the compiler vectorizes. In wasm,
//! products of integers are those of [`super::wasm`].
#![cfg_attr(target_arch = "wasm32", allow(dead_code, unused_imports, reason = "see above"))]

use bytemuck::must_cast;

use super::float_panels::{FloatPanels, bf16_to_f32, float_products};
use super::inputs::{InputBlock, Inputs};
use super::integer_panels::{Halves, IntegerPanels, Line, PANEL, QUAD};
use super::loops::vectorized_loops;
use super::microkernel::{
    CUBES, CUBIC, LINEAR, NARROW_TABLE, SIGNS, TABLE, biased_table, curve_terms, products,
};
use crate::formats::{FloatKind, UNIT};

type Quads = [u8; PANEL * QUAD];
type Ints = [i32; PANEL];
type Floats = [f32; PANEL];

/// Input rows of a float micro-kernel, see [`super::float_panels`].
const FLOAT_ROWS: usize = 4;
/// See [`super::loops`].
const WIDENS: bool = false;
/// Attention queries computed together, see [`super::loops`].
const QUERIES: usize = 2;

/// See [`super::microkernel`].
const WIDE_TILES: bool = true;

#[cfg(not(target_arch = "wasm32"))]
products! {}
float_products! {}
vectorized_loops! {}

#[inline(always)]
fn load(line: &Line) -> Quads {
    line.0
}

#[inline(always)]
fn low(quads: Quads) -> Quads {
    quads.map(|byte| byte & 15)
}

#[inline(always)]
fn high(quads: Quads) -> Quads {
    quads.map(|byte| byte >> 4)
}

#[inline(always)]
fn or(a: Quads, b: Quads) -> Quads {
    std::array::from_fn(|byte| a[byte] | b[byte])
}

#[inline(always)]
fn field<const SHIFT: i32>(quads: Quads, mask: i8) -> Quads {
    quads.map(|byte| (byte >> SHIFT) & mask.cast_unsigned())
}

#[inline(always)]
fn dots<const BITS: usize>(zero_point: i32, sum: i32, quads: &[Quads], inputs: &[i32]) -> Ints {
    let mut sums = [-zero_point * sum; PANEL];
    for (quads, inputs) in quads.iter().zip(inputs) {
        let x = inputs.to_le_bytes().map(|byte| i16::from(byte.cast_signed()));
        for (sum, quad) in sums.iter_mut().zip(quads.chunks_exact(QUAD)) {
            let product = |i: usize| i32::from(i16::from(quad[i])) * i32::from(x[i]);
            *sum += (product(0) + product(1)) + (product(2) + product(3));
        }
    }
    sums
}

#[inline(always)]
fn f16_to_f32(halves: &Halves) -> Floats {
    halves.0.map(|bits| crate::kernels::f16_to_f32(bits.into()))
}

#[inline(always)]
fn int_to_f32(ints: Ints) -> Floats {
    ints.map(|int| int as f32)
}

#[inline(always)]
fn splat(number: f32) -> Floats {
    [number; PANEL]
}

#[inline(always)]
fn mul(mut a: Floats, b: Floats) -> Floats {
    a.iter_mut().zip(b).for_each(|(a, b)| *a *= b);
    a
}

#[inline(always)]
fn mul_add(a: Floats, b: Floats, mut c: Floats) -> Floats {
    c.iter_mut().zip(a).zip(b).for_each(|((c, a), b)| *c += a * b);
    c
}

#[inline(always)]
fn store(floats: Floats) -> [f32; PANEL] {
    floats
}

#[inline(always)]
fn lookup(table: &[u8; 16], quads: Quads) -> Quads {
    quads.map(|nibble| table[usize::from(nibble & 15)])
}

#[inline(always)]
fn load_floats(numbers: [f32; PANEL]) -> Floats {
    numbers
}

#[inline]
fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
    a * b + c
}
