//! Micro-kernels with WebAssembly SIMD, four rows of weights per vector; for 4-bit quants with
//! relaxed int8 dot products if the build has them.
//!
//! Four columns of a panel take four vectors, and x86 processors have sixteen registers. A tile is
//! therefore one panel and one input row with its residual: an input is loaded once for four
//! vectors of weights.

use std::arch::wasm32::{
    f32x4_add, f32x4_convert_i32x4, f32x4_mul, f32x4_splat, i16x8_shl, i16x8_shr, i16x8_splat,
    i32x4_add, i32x4_dot_i16x8, i32x4_extend_low_i16x8, i32x4_shl, i32x4_splat, u8x16_splat,
    u8x16_swizzle, u16x8_shr, v128, v128_and,
};

use bytemuck::must_cast;

use super::inputs::{InputBlock, Inputs};
use super::integer_panels::{Halves, IntegerPanels, Line, PANEL};
use super::microkernel::{CUBES, CUBIC, LINEAR, TABLE, biased_table, curve_terms, specialize};

/// Rows of weights per vector, and vectors per panel.
const LANES: usize = 4;
const VECTORS: usize = PANEL / LANES;

/// Multiplies panels by rows of quantized inputs, as `products` of [`super::microkernel`].
pub(super) fn products(
    matrix: &IntegerPanels,
    panels: std::ops::Range<usize>,
    inputs: Inputs<'_>,
    y: &mut [&mut [f32]],
) {
    specialize!(matrix, panels, inputs, y)
}

fn all_panels<const BITS: usize, const OFFSETS: bool, const HALVES: bool, const LEVELS: u8>(
    matrix: &IntegerPanels,
    panels: std::ops::Range<usize>,
    inputs: Inputs<'_>,
    y: &mut [&mut [f32]],
) {
    for (index, panel) in panels.enumerate() {
        for (row, y) in y.iter_mut().enumerate() {
            let outputs = tile::<2, BITS, OFFSETS, HALVES, LEVELS>(matrix, panel, inputs, 2 * row);
            let (outputs, y) = (outputs.as_flattened(), &mut y[index * PANEL..][..PANEL]);
            for (column, y) in y.iter_mut().enumerate() {
                *y = outputs[column] + outputs[PANEL + column];
            }
        }
    }
}

/// Multiplies one panel by `N` rows of inputs and residuals, from `first` on.
fn tile<
    const N: usize,
    const BITS: usize,
    const OFFSETS: bool,
    const HALVES: bool,
    const LEVELS: u8,
>(
    matrix: &IntegerPanels,
    panel: usize,
    inputs: Inputs<'_>,
    first: usize,
) -> [[f32; PANEL]; N] {
    let block_scales = matrix.block_scales();
    let zero_point =
        if LEVELS == TABLE { 128 } else { i32::from(matrix.integers.zero_point.unwrap_or(0)) };
    let table = biased_table(matrix.integers.levels);
    let rows: [_; N] = std::array::from_fn(|row| inputs.row(first + row));
    let mut sums = [[f32x4_splat(0.0); N]; VECTORS];
    for (block, (lines, scales)) in matrix.panel_blocks(panel, BITS).enumerate() {
        let x = rows.map(|row| &row[block]);
        if LEVELS == CUBIC {
            add_cubic_block(&scales[0], lines, &x, &mut sums);
            continue;
        }
        // A block of two scales in two halves.
        for half in 0..1 + usize::from(HALVES) {
            let ints = if LEVELS == TABLE {
                table_dots(&table, lines, &x)
            } else if BITS == 4 {
                nibble_dots(lines, &x)
            } else {
                byte_dots(lines, &x, if HALVES { 4 * half..4 * half + 4 } else { 0..8 })
            };
            for (vector, (sums, ints)) in sums.iter_mut().zip(ints).enumerate() {
                let scale = f16_to_f32(&scales[half], vector);
                let offset = f16_to_f32(&scales[block_scales - 1], vector);
                for ((sum, ints), x) in sums.iter_mut().zip(ints).zip(&x) {
                    let total = if HALVES { x.sums[half] } else { x.sums[0] + x.sums[1] };
                    let ints = if OFFSETS {
                        ints
                    } else {
                        i32x4_add(ints, i32x4_splat(-zero_point * total))
                    };
                    let scale = f32x4_mul(scale, f32x4_splat(x.scale));
                    *sum = mul_add(f32x4_convert_i32x4(ints), scale, *sum);
                    if OFFSETS {
                        *sum = mul_add(offset, f32x4_splat(x.scale * total as f32), *sum);
                    }
                }
            }
        }
    }
    let factors: [v128; VECTORS] = must_cast(matrix.factors[panel]);
    std::array::from_fn(|row| {
        let products: [v128; VECTORS] =
            std::array::from_fn(|vector| f32x4_mul(sums[vector][row], factors[vector]));
        must_cast(products)
    })
}

/// Adds the products of a block of [`crate::formats::Levels::Cubic`]: the linear part from the
/// quants, the cubic part from a table of their cubes.
#[inline(always)]
fn add_cubic_block<const N: usize>(
    curves: &Halves,
    lines: &[Line],
    x: &[&InputBlock; N],
    sums: &mut [[v128; N]; VECTORS],
) {
    let products = nibble_dots(lines, x);
    let cubes = table_dots(&CUBES, lines, x);
    let [scale, bend, shift]: [[v128; VECTORS]; 3] = must_cast(curve_terms(curves));
    for (vector, sums) in sums.iter_mut().enumerate() {
        for (row, sum) in sums.iter_mut().enumerate() {
            let total = x[row].sums[0] + x[row].sums[1];
            let cubes = i32x4_add(cubes[vector][row], i32x4_splat(-128 * total));
            let products = f32x4_convert_i32x4(products[vector][row]);
            let products = mul_add(f32x4_convert_i32x4(cubes), bend[vector], products);
            let products = mul_add(shift[vector], f32x4_splat(total as f32), products);
            *sum = mul_add(products, f32x4_mul(scale[vector], f32x4_splat(x[row].scale)), *sum);
        }
    }
}

/// Dot products of a block of nibbles, decoded by a table of bytes.
#[inline(always)]
fn table_dots<const N: usize>(
    table: &[u8; 16],
    lines: &[Line],
    x: &[&InputBlock; N],
) -> [[v128; N]; VECTORS] {
    let table: v128 = must_cast(*table);
    let mut sums = [[i32x4_splat(0); N]; VECTORS];
    for (quad, line) in lines.iter().enumerate() {
        for (sums, line) in sums.iter_mut().zip(vectors(line)) {
            let low = bytes(u8x16_swizzle(table, v128_and(line, u8x16_splat(15))));
            let high = v128_and(u16x8_shr(line, 4), u8x16_splat(15));
            let high = bytes(u8x16_swizzle(table, high));
            for (sum, x) in sums.iter_mut().zip(x) {
                *sum = byte_dot(low, x.quads[quad], *sum);
                *sum = byte_dot(high, x.quads[quad + 4], *sum);
            }
        }
    }
    sums
}

/// Dot products of a block of nibbles.
#[inline(always)]
fn nibble_dots<const N: usize>(lines: &[Line], x: &[&InputBlock; N]) -> [[v128; N]; VECTORS] {
    let mut sums = [[i32x4_splat(0); N]; VECTORS];
    for (quad, line) in lines.iter().enumerate() {
        for (sums, line) in sums.iter_mut().zip(vectors(line)) {
            let low = nibbles(v128_and(line, u8x16_splat(15)));
            let high = nibbles(v128_and(u16x8_shr(line, 4), u8x16_splat(15)));
            for (sum, x) in sums.iter_mut().zip(x) {
                *sum = nibble_dot(low, x.quads[quad], *sum);
                *sum = nibble_dot(high, x.quads[quad + 4], *sum);
            }
        }
    }
    sums
}

/// Dot products of the quads `range` of a block of bytes.
#[inline(always)]
fn byte_dots<const N: usize>(
    lines: &[Line],
    x: &[&InputBlock; N],
    range: std::ops::Range<usize>,
) -> [[v128; N]; VECTORS] {
    let mut sums = [[i32x4_splat(0); N]; VECTORS];
    for quad in range {
        for (sums, line) in sums.iter_mut().zip(vectors(&lines[quad])) {
            let bytes = bytes(line);
            for (sum, x) in sums.iter_mut().zip(x) {
                *sum = byte_dot(bytes, x.quads[quad], *sum);
            }
        }
    }
    sums
}

#[inline(always)]
fn vectors(line: &Line) -> [v128; VECTORS] {
    must_cast(*line)
}

/// Widens four finite f16 numbers: shifts exponent and mantissa to where f32 has them and
/// multiplies by the difference of the exponent biases, 2^112.
#[inline(always)]
fn f16_to_f32(halves: &Halves, vector: usize) -> v128 {
    let vectors: [[u16; LANES]; VECTORS] = must_cast(halves.0);
    let [a, b, c, d] = vectors[vector];
    let bits = i32x4_shl(i32x4_extend_low_i16x8(must_cast([a, b, c, d, 0, 0, 0, 0])), 13);
    // Clears the copies of the sign bit that sign extension left below it.
    let bits = v128_and(bits, i32x4_splat(0x8fff_ffff_u32.cast_signed()));
    f32x4_mul(bits, f32x4_splat(f32::from_bits((127 + 112) << 23)))
}

/// Unsigned bytes widened to sixteen bits: the even ones and the odd ones.
#[derive(Clone, Copy)]
struct Bytes(v128, v128);

#[inline(always)]
fn bytes(bytes: v128) -> Bytes {
    Bytes(v128_and(bytes, i16x8_splat(0xff)), u16x8_shr(bytes, 8))
}

/// Adds the dot product of four bytes with four inputs to each lane, by 16-bit products.
#[inline(always)]
fn byte_dot(Bytes(even, odd): Bytes, x: i32, sums: v128) -> v128 {
    let x = i32x4_splat(x);
    let even = i32x4_dot_i16x8(even, i16x8_shr(i16x8_shl(x, 8), 8));
    let odd = i32x4_dot_i16x8(odd, i16x8_shr(x, 8));
    i32x4_add(sums, i32x4_add(even, odd))
}

#[cfg(not(target_feature = "relaxed-simd"))]
use {byte_dot as nibble_dot, bytes as nibbles};

/// `a · b + c`, rounded twice: unlike `f32x4_relaxed_madd` it is the same in every browser.
#[inline(always)]
fn mul_add(a: v128, b: v128, c: v128) -> v128 {
    f32x4_add(f32x4_mul(a, b), c)
}

#[cfg(target_feature = "relaxed-simd")]
#[inline(always)]
fn nibbles(nibbles: v128) -> v128 {
    nibbles
}

/// Adds the dot product of four nibbles with four inputs to each lane. The relaxed instruction is
/// deterministic as long as one factor is below 128.
#[cfg(target_feature = "relaxed-simd")]
#[inline(always)]
fn nibble_dot(nibbles: v128, x: i32, sums: v128) -> v128 {
    std::arch::wasm32::i32x4_relaxed_dot_i8x16_i7x16_add(i32x4_splat(x), nibbles, sums)
}
