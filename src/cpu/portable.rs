//! Panels without instructions of any particular processor: loops that a compiler can turn into vectors.

use bytemuck::must_cast;

use super::floats::{FloatPanels, brains, float_products};
use super::inputs::{InputBlock, Inputs};
use super::packed::{Halves, Line, PANEL, Packed, QUAD};
use super::tile::{CUBES, curves_of_rows, products};
use super::vectors::vectors;
use crate::formats::{FloatBits, Integers, UNIT};

type Quads = [u8; PANEL * QUAD];
type Ints = [i32; PANEL];
type Floats = [f32; PANEL];

/// See [`super::floats`].
const FLOAT_ROWS: usize = 4;
/// See [`super::vectors`].
const QUERIES: usize = 2;

products! {}
float_products! {}
vectors! {}

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
fn dots<const BITS: usize>(zero: i32, sum: i32, quads: &[Quads], inputs: &[i32]) -> Ints {
    let mut sums = [-zero * sum; PANEL];
    for (quads, inputs) in quads.iter().zip(inputs) {
        let x = inputs.to_le_bytes().map(|byte| i16::from(byte.cast_signed()));
        for (sum, quad) in sums.iter_mut().zip(quads.chunks_exact(QUAD)) {
            let product = |i: usize| i32::from(i16::from(quad[i])) * i32::from(x[i]);
            *sum += (product(0) + product(1)) + (product(2) + product(3));
        }
    }
    sums
}

/// Shifted to where `f32` has exponent and mantissa, and multiplied by how much further its exponents
/// reach; no scale is infinite.
#[inline(always)]
fn halves(halves: &Halves) -> Floats {
    halves.0.map(|bits| {
        let size =
            f32::from_bits(u32::from(bits & 0x7fff) << 13) * f32::from_bits((127 + 112) << 23);
        f32::from_bits(size.to_bits() | u32::from(bits & 0x8000) << 16)
    })
}

#[inline(always)]
fn floats(ints: Ints) -> Floats {
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
fn rows_of(numbers: [f32; PANEL]) -> Floats {
    numbers
}
