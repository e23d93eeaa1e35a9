//! The product of a panel and some rows of inputs, written once and compiled for each instruction set.
//!
//! An instruction set's file has three types, each a number for sixteen rows of weights, `Quads` (four
//! bytes), `Ints` and `Floats`, and what is done with them:
//! `load(&Line) -> Quads`, `low` and `high` nibbles of each byte,
//! `dots::<BITS>(zero, sum, &[Quads], &[i32]) -> Ints` (of weights less `zero`, and of inputs whose sum is told),
//! `lookup(&[u8; 16], Quads)` of nibbles, `halves(&Halves) -> Floats`, `floats(Ints)`, `splat`, `mul`,
//! `mul_add(a, b, c)`: a · b + c, `store(Floats)` and `rows_of`, its opposite.

use super::packed::{Halves, PANEL};
use crate::formats::Curve;

/// Calls `all` of the file for the integers of the weights: `BITS`, `OFFSETS`, `HALVES` and `BENT`.
macro_rules! by_integers {
    ($packed:ident, $panels:ident, $inputs:ident, $y:ident) => {{
        let Integers { bits, zero, group, is_bent } = $packed.integers;
        match (bits, zero, group) {
            _ if is_bent => all::<4, false, false, true>($packed, $panels, $inputs, $y),
            (4, Some(_), _) => all::<4, false, false, false>($packed, $panels, $inputs, $y),
            (4, None, _) => all::<4, true, false, false>($packed, $panels, $inputs, $y),
            (_, None, _) => all::<8, true, false, false>($packed, $panels, $inputs, $y),
            (_, Some(_), 16) => all::<8, false, true, false>($packed, $panels, $inputs, $y),
            (_, Some(_), _) => all::<8, false, false, false>($packed, $panels, $inputs, $y),
        }
    }};
}

/// `products`, with the instructions of the attribute.
macro_rules! products {
    ($(#[$instructions:meta])*) => {
        /// Outputs of some panels, a row of them for each two of inputs.
        $(#[$instructions])*
        pub(super) fn products(
            packed: &Packed,
            panels: std::ops::Range<usize>,
            inputs: Inputs<'_>,
            y: &mut [&mut [f32]],
        ) {
            $crate::cpu::tile::by_integers!(packed, panels, inputs, y)
        }

        $(#[$instructions])*
        #[inline]
        fn all<const BITS: usize, const OFFSETS: bool, const HALVES: bool, const BENT: bool>(
            packed: &Packed,
            panels: std::ops::Range<usize>,
            inputs: Inputs<'_>,
            y: &mut [&mut [f32]],
        ) {
            for (index, panel) in panels.enumerate() {
                let mut row = 0;
                while row < y.len() {
                    let (column, y) = (index * PANEL, &mut y[row..]);
                    row += if y.len() >= 4 {
                        tile::<8, BITS, OFFSETS, HALVES, BENT>(packed, panel, inputs, row, column, y)
                    } else if y.len() >= 2 {
                        tile::<4, BITS, OFFSETS, HALVES, BENT>(packed, panel, inputs, row, column, y)
                    } else {
                        tile::<2, BITS, OFFSETS, HALVES, BENT>(packed, panel, inputs, row, column, y)
                    };
                }
            }
        }

        /// One panel and `N` rows of inputs, for the outputs of half as many rows from `first` on; how
        /// many that are.
        $(#[$instructions])*
        #[inline]
        fn tile<const N: usize, const BITS: usize, const OFFSETS: bool, const HALVES: bool, const BENT: bool>(
            packed: &Packed,
            panel: usize,
            inputs: Inputs<'_>,
            first: usize,
            column: usize,
            y: &mut [&mut [f32]],
        ) -> usize {
            let (blocks, scales_of_a_block) = (packed.blocks(), packed.block_scales());
            let lines = packed.lines[panel * blocks * BITS..].chunks_exact(BITS);
            let scales = packed.scales[panel * blocks * scales_of_a_block..].chunks_exact(scales_of_a_block);
            let zero = i32::from(packed.integers.zero.unwrap_or(0));
            let mut rows = [inputs.row(2 * first); N];
            for (index, row) in rows.iter_mut().enumerate() {
                *row = inputs.row(2 * first + index);
            }
            let mut sums = [splat(0.0); N];
            for (block, (lines, scales)) in (0..blocks).zip(lines.zip(scales)) {
                let mut quads = [load(&lines[0]); 8];
                for (index, line) in lines.iter().enumerate() {
                    let line = load(line);
                    if BITS == 4 {
                        (quads[index], quads[index + 4]) = (low(line), high(line));
                    } else {
                        quads[index] = line;
                    }
                }
                let scale = halves(&scales[0]);
                let second = halves(&scales[scales_of_a_block - 1]);
                if BENT {
                    bend(&scales[0], &quads, block, &rows, &mut sums);
                    continue;
                }
                for (sum, row) in sums.iter_mut().zip(&rows) {
                    let x = &row[block];
                    let x_scale = splat(x.scale);
                    if HALVES {
                        let first = dots::<BITS>(zero, x.sums[0], &quads[..4], &x.quads[..4]);
                        let last = dots::<BITS>(zero, x.sums[1], &quads[4..], &x.quads[4..]);
                        *sum = mul_add(floats(first), mul(scale, x_scale), *sum);
                        *sum = mul_add(floats(last), mul(second, x_scale), *sum);
                    } else {
                        let total = x.sums[0] + x.sums[1];
                        let products = dots::<BITS>(zero, total, &quads, &x.quads);
                        *sum = mul_add(floats(products), mul(scale, x_scale), *sum);
                        if OFFSETS {
                            *sum = mul_add(second, splat(x.scale * total as f32), *sum);
                        }
                    }
                }
            }
            let factors = rows_of(packed.factors[panel]);
            for (y, sums) in y.iter_mut().zip(sums.chunks_exact(2)) {
                let sum = mul_add(sums[1], factors, mul(sums[0], factors));
                y[column..column + PANEL].copy_from_slice(&store(sum));
            }
            N / 2
        }

        /// Adds what a block of bent quants contributes: their products, and those of their cubes.
        $(#[$instructions])*
        #[inline]
        fn bend<const N: usize>(
            curves: &Halves,
            quads: &[Quads; 8],
            block: usize,
            rows: &[&[InputBlock]; N],
            sums: &mut [Floats; N],
        ) {
            let mut cubed = *quads;
            for quad in &mut cubed {
                *quad = lookup(&CUBES, *quad);
            }
            let numbers = curves_of_rows(curves);
            let [scale, bend, shift] = [numbers[0], numbers[1], numbers[2]];
            let [scale, bend, shift] = [rows_of(scale), rows_of(bend), rows_of(shift)];
            for (sum, row) in sums.iter_mut().zip(rows) {
                let x = &row[block];
                let total = x.sums[0] + x.sums[1];
                let cubes = floats(dots::<8>(128, total, &cubed, &x.quads));
                let products = mul_add(cubes, bend, floats(dots::<4>(0, 0, quads, &x.quads)));
                let products = mul_add(shift, splat(total as f32), products);
                *sum = mul_add(products, mul(scale, splat(x.scale)), *sum);
            }
        }
    };
}

/// `(2 · nibble − 15)³` in units of 3375 / 127, plus 128: as near as eight bits come. The largest bend moves
/// a weight off by 4 % of a step that way.
pub(super) const CUBES: [u8; 16] = {
    let mut cubes = [0; 16];
    let mut nibble = 0;
    while nibble < 16 {
        let odd = 2 * nibble as i32 - 15;
        let cube = odd * odd * odd * 127;
        // Rounded to the nearest.
        cubes[nibble] = ((cube + 3375 * 128 + 3375 / 2) / 3375) as u8;
        nibble += 1;
    }
    cubes
};
/// What a cube of [`CUBES`] stands for, of `(nibble − 7.5)³`.
const CUBE: f32 = 3375.0 / 127.0 / 8.0;

/// Scales, what multiplies the cubes, and shifts where nibbles are counted from zero.
#[inline(always)]
pub(super) fn curves_of_rows(curves: &Halves) -> [[f32; PANEL]; 3] {
    let mut numbers = [[0.0; PANEL]; 3];
    for (row, curve) in curves.0.iter().enumerate() {
        let [scale, bend, shift] = Curve(*curve).numbers();
        (numbers[0][row], numbers[1][row], numbers[2][row]) = (scale, bend * CUBE, shift - 7.5);
    }
    numbers
}

pub(super) use {by_integers, products};
