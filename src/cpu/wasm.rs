//! Micro-kernels with WebAssembly SIMD, four rows of weights per vector; for 4-bit quants with
//! relaxed int8 dot products if the build has them.
//!
//! Four columns of a panel take four vectors, and x86 processors have sixteen registers. A tile is
//! therefore one panel and one input row with its residual: an input is loaded once for four
//! vectors of weights.

use std::arch::wasm32::{
    f32x4_add, f32x4_convert_i32x4, f32x4_mul, f32x4_splat, i16x8_shl, i16x8_shr, i16x8_splat,
    i32x4_add, i32x4_dot_i16x8, i32x4_extend_low_i16x8, i32x4_shl, i32x4_splat, u8x16_splat,
    u8x16_swizzle, u16x8_shr, v128, v128_and, v128_or,
};
use std::hint::black_box;

use bytemuck::{must_cast, must_cast_ref};

use super::inputs::{InputBlock, Inputs};
use super::integer_panels::{Halves, IntegerPanels, Line, PANEL, QUAD};
use super::microkernel::{
    CUBES, CUBIC, LINEAR, NARROW_TABLE, SIGNS, TABLE, biased_table, curve_terms, specialize,
};
use crate::formats::UNIT;

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
    let (table, table_zero) = biased_table(matrix.integers.levels);
    let zero_point = match LEVELS {
        TABLE | NARROW_TABLE => table_zero,
        _ => i32::from(matrix.integers.zero_point.unwrap_or(0)),
    };
    let table = Table::new(&table);
    let cubes = Table::new(&CUBES);
    let rows: [_; N] = std::array::from_fn(|row| inputs.row(first + row));
    let mut sums = [[f32x4_splat(0.0); N]; VECTORS];
    for (block, (lines, scales)) in matrix.panel_blocks(panel, BITS).enumerate() {
        let x = rows.map(|row| &row[block]);
        if LEVELS == CUBIC {
            add_cubic_block(&scales[0], &cubes, lines, &x, &mut sums);
            continue;
        }
        let halves = dots::<N, BITS, HALVES, LEVELS>(&table, lines, &x);
        // A block of two scales in two halves.
        for (half, ints) in halves.into_iter().take(1 + usize::from(HALVES)).enumerate() {
            for (vector, (sums, ints)) in sums.iter_mut().zip(ints).enumerate() {
                let scale = f16_to_f32(&scales[half], vector);
                let offset = &scales[if OFFSETS { 1 + usize::from(HALVES) + half } else { half }];
                let offset = f16_to_f32(offset, vector);
                for ((sum, ints), x) in sums.iter_mut().zip(ints).zip(&x) {
                    let total = if HALVES { x.sums[half] } else { x.sums[0] + x.sums[1] };
                    let ints = match LEVELS {
                        SIGNS => i32x4_add(i32x4_shl(ints, 1), i32x4_splat(-total)),
                        _ if OFFSETS => ints,
                        _ => i32x4_add(ints, i32x4_splat(-zero_point * total)),
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
    cubes: &Table,
    lines: &[Line],
    x: &[&InputBlock; N],
    sums: &mut [[v128; N]; VECTORS],
) {
    let [products, _] = dots::<N, 4, false, LINEAR>(cubes, lines, x);
    let [cubes, _] = dots::<N, 4, false, TABLE>(cubes, lines, x);
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

/// Dot products of a block with `N` inputs, four rows of the panel per vector.
type Dots<const N: usize> = [[v128; N]; VECTORS];

/// Dot products of a block with `N` inputs, of the two halves if `HALVES`, else of all columns and
/// nothing.
#[inline(always)]
fn dots<const N: usize, const BITS: usize, const HALVES: bool, const LEVELS: u8>(
    table: &Table,
    lines: &[Line],
    x: &[&InputBlock; N],
) -> [Dots<N>; 2] {
    let mut dots = [[[i32x4_splat(0); N]; VECTORS]; 2];
    // The compiler must not unroll this loop: it would need more registers than processors have.
    #[allow(clippy::needless_range_loop, reason = "an iterator's loop would be unrolled")]
    for vector in 0..black_box(VECTORS) {
        let mut sums = [[i32x4_splat(0); N]; 2];
        for (quad, quants) in unpacked::<BITS>(lines, vector).into_iter().enumerate() {
            let sums = &mut sums[if HALVES { quad / 4 } else { 0 }];
            for (sum, x) in sums.iter_mut().zip(x) {
                let x = x.quads[quad];
                *sum = match LEVELS {
                    NARROW_TABLE => decoded_dot::<true>(table.decoded(quants), x, *sum),
                    TABLE => decoded_dot::<false>(table.decoded(quants), x, *sum),
                    _ if BITS == 8 => byte_dot(bytes(quants), x, *sum),
                    _ => nibble_dot(nibbles(quants), x, *sum),
                };
            }
        }
        (dots[0][vector], dots[1][vector]) = (sums[0], sums[1]);
    }
    dots
}

/// Quants of a block in one vector of each line: eight times four columns.
#[inline(always)]
fn unpacked<const BITS: usize>(lines: &[Line], vector: usize) -> [v128; UNIT / QUAD] {
    let mut quads = [u8x16_splat(0); UNIT / QUAD];
    if BITS == 3 {
        let [a, b, c] = vectors(lines, vector);
        return [
            field(a, 0, 7),
            field(a, 3, 7),
            field(b, 0, 7),
            field(b, 3, 7),
            field(c, 0, 7),
            field(c, 3, 7),
            v128_or(field(a, 6, 3), field(c, 4, 4)),
            v128_or(field(b, 6, 3), field(c, 5, 4)),
        ];
    }
    if BITS == 6 {
        let [a, b, c, d, e, f] = vectors(lines, vector);
        return [
            field(a, 0, 63),
            field(b, 0, 63),
            field(c, 0, 63),
            field(d, 0, 63),
            field(e, 0, 63),
            field(f, 0, 63),
            v128_or(v128_or(field(a, 6, 3), field(b, 4, 12)), field(c, 2, 48)),
            v128_or(v128_or(field(d, 6, 3), field(e, 4, 12)), field(f, 2, 48)),
        ];
    }
    let lines: [v128; BITS] = vectors(lines, vector);
    for (quad, quants) in quads.iter_mut().enumerate() {
        *quants = field(lines[quad % BITS], (quad / BITS * BITS) as u32, 0xff >> (8 - BITS));
    }
    quads
}

/// Bits of each byte from bit `shift` on.
#[inline(always)]
fn field(line: v128, shift: u32, mask: u8) -> v128 {
    v128_and(u16x8_shr(line, shift), u8x16_splat(mask))
}

/// Vector `vector` of each line of a block.
#[inline(always)]
fn vectors<const LINES: usize>(lines: &[Line], vector: usize) -> [v128; LINES] {
    std::array::from_fn(|line| {
        let vectors: &[v128; VECTORS] = must_cast_ref(&lines[line]);
        vectors[vector]
    })
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

/// Table of sixteen unsigned bytes that decodes nibbles. The relaxed dot product takes seven bits:
/// for it, bytes are also stored halved, with their lowest bits apart.
struct Table {
    bytes: v128,
    halved: v128,
    lowest: v128,
}

impl Table {
    #[inline(always)]
    fn new(table: &[u8; 16]) -> Self {
        Self {
            bytes: must_cast(*table),
            halved: must_cast(table.map(|byte| byte >> 1)),
            lowest: must_cast(table.map(|byte| byte & 1)),
        }
    }

    /// The bytes of nibbles, for [`decoded_dot`].
    #[inline(always)]
    fn decoded(&self, nibbles: v128) -> Decoded {
        Decoded {
            bytes: u8x16_swizzle(self.bytes, nibbles),
            halved: u8x16_swizzle(self.halved, nibbles),
            lowest: u8x16_swizzle(self.lowest, nibbles),
        }
    }
}

/// Bytes that a [`Table`] decoded, whole and in parts.
#[derive(Clone, Copy)]
struct Decoded {
    bytes: v128,
    halved: v128,
    lowest: v128,
}

/// Adds the dot product of four decoded bytes with four inputs to each lane.
#[inline(always)]
fn decoded_dot<const NARROW: bool>(decoded: Decoded, x: i32, sums: v128) -> v128 {
    if cfg!(not(target_feature = "relaxed-simd")) {
        byte_dot(bytes(decoded.bytes), x, sums)
    } else if NARROW {
        nibble_dot(nibbles(decoded.bytes), x, sums)
    } else {
        let halved = nibble_dot(nibbles(decoded.halved), x, i32x4_splat(0));
        let sums = i32x4_add(sums, i32x4_shl(halved, 1));
        nibble_dot(nibbles(decoded.lowest), x, sums)
    }
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

/// Adds the dot product of four bytes below 128 with four inputs to each lane. The relaxed
/// instruction is deterministic as long as one factor is below 128.
#[cfg(target_feature = "relaxed-simd")]
#[inline(always)]
fn nibble_dot(nibbles: v128, x: i32, sums: v128) -> v128 {
    std::arch::wasm32::i32x4_relaxed_dot_i8x16_i7x16_add(i32x4_splat(x), nibbles, sums)
}
