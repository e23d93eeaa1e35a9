//! Micro-kernel of integer products: one packed panel times a few rows of quantized inputs,
//! written once and compiled for each instruction set.
//!
//! The file of an instruction set defines three vector types with an element per row of a panel,
//! `Quads` (four bytes), `Ints` (i32) and `Floats` (f32), and these functions:
//!
//! - `load(&Line) -> Quads`, and the `low` and `high` nibbles of each byte;
//! - `field::<SHIFT>(Quads, mask) -> Quads`: bits `SHIFT …` of each byte; `or(Quads, Quads)`;
//! - `dots::<BITS>(zero_point, sum, &[Quads], &[i32]) -> Ints`: `Σ (quant − zero_point) · input`,
//!   where `sum` is `Σ input`, and quants have at most `BITS` = 4, 6, 7 or 8 bits;
//! - `lookup(&[u8; 16], Quads) -> Quads`: table lookup of nibbles;
//! - `f16_to_f32(&Halves) -> Floats`, `int_to_f32(Ints) -> Floats`, `splat(f32)`, `mul`,
//!   `mul_add(a, b, c)` = `a · b + c`;
//! - the constant `WIDE_TILES`: true for tiles of up to four input rows, false for one row at a
//!   time, which takes a third of the code;
//! - `load_floats([f32; PANEL]) -> Floats` and its inverse `store`.

use super::integer_panels::{Halves, PANEL};
use crate::formats::{Curve, Levels};

/// Values of the const parameter `LEVELS`, one per variant of [`Levels`].
pub(super) const LINEAR: u8 = 0;
pub(super) const CUBIC: u8 = 1;
pub(super) const TABLE: u8 = 2;
pub(super) const SIGNS: u8 = 3;
/// [`TABLE`] whose levels differ by less than 128.
pub(super) const NARROW_TABLE: u8 = 4;

/// Calls `all_panels` of the surrounding file, specialized for the matrix's integer form:
/// `BITS`, `OFFSETS`, `HALVES` (two scales per block) and `LEVELS`. Formats of one row here have
/// equal integer forms.
macro_rules! specialize {
    ($matrix:ident, $panels:ident, $inputs:ident, $y:ident) => {{
        use crate::cpu::microkernel::is_narrow;
        use crate::formats::Levels;
        let integers = $matrix.integers;
        let has_offsets = integers.has_offsets();
        match (integers.levels, integers.bits, has_offsets, integers.group) {
            (Levels::Cubic, ..) => {
                all_panels::<4, false, false, CUBIC>($matrix, $panels, $inputs, $y)
            }
            (Levels::Table(_), 3, _, 16) => {
                all_panels::<3, false, true, NARROW_TABLE>($matrix, $panels, $inputs, $y)
            }
            (Levels::Table(_), 3, ..) => {
                all_panels::<3, false, false, NARROW_TABLE>($matrix, $panels, $inputs, $y)
            }
            (Levels::Table(table), _, _, 16) if is_narrow(table) => {
                all_panels::<4, false, true, NARROW_TABLE>($matrix, $panels, $inputs, $y)
            }
            (Levels::Table(table), ..) if is_narrow(table) => {
                all_panels::<4, false, false, NARROW_TABLE>($matrix, $panels, $inputs, $y)
            }
            (Levels::Table(_), _, _, 16) => {
                all_panels::<4, false, true, TABLE>($matrix, $panels, $inputs, $y)
            }
            (Levels::Table(_), ..) => {
                all_panels::<4, false, false, TABLE>($matrix, $panels, $inputs, $y)
            }
            (Levels::Signs, ..) => {
                all_panels::<1, false, false, SIGNS>($matrix, $panels, $inputs, $y)
            }
            (_, 2, true, _) => all_panels::<2, true, true, LINEAR>($matrix, $panels, $inputs, $y),
            (_, 2, false, _) => {
                all_panels::<2, false, false, LINEAR>($matrix, $panels, $inputs, $y)
            }
            (_, 3, true, _) => all_panels::<3, true, false, LINEAR>($matrix, $panels, $inputs, $y),
            (_, 3, false, _) => all_panels::<3, false, true, LINEAR>($matrix, $panels, $inputs, $y),
            (_, 4, false, 16) => {
                all_panels::<4, false, true, LINEAR>($matrix, $panels, $inputs, $y)
            }
            (_, 4, false, _) => {
                all_panels::<4, false, false, LINEAR>($matrix, $panels, $inputs, $y)
            }
            (_, 4, true, _) => all_panels::<4, true, false, LINEAR>($matrix, $panels, $inputs, $y),
            (_, 6, true, _) => all_panels::<6, true, false, LINEAR>($matrix, $panels, $inputs, $y),
            (_, 6, false, 16) => {
                all_panels::<6, false, true, LINEAR>($matrix, $panels, $inputs, $y)
            }
            (_, 6, false, _) => {
                all_panels::<6, false, false, LINEAR>($matrix, $panels, $inputs, $y)
            }
            (_, _, true, _) => all_panels::<8, true, false, LINEAR>($matrix, $panels, $inputs, $y),
            _ => all_panels::<8, false, false, LINEAR>($matrix, $panels, $inputs, $y),
        }
    }};
}

/// Defines `products`, compiled with the given `target_feature` attribute.
#[cfg_attr(target_arch = "wasm32", allow(unused_macros, reason = "wasm.rs has its own"))]
macro_rules! products {
    ($(#[$instructions:meta])*) => {
        /// Multiplies the panels `panels` by rows of quantized inputs:
        /// `y[row][16 · i + lane]` is the output of row `lane` of the range's panel `i`.
        $(#[$instructions])*
        pub(super) fn products(
            matrix: &IntegerPanels,
            panels: std::ops::Range<usize>,
            inputs: Inputs<'_>,
            y: &mut [&mut [f32]],
        ) {
            $crate::cpu::microkernel::specialize!(matrix, panels, inputs, y)
        }

        $(#[$instructions])*
        #[inline]
        fn all_panels<const BITS: usize, const OFFSETS: bool, const HALVES: bool, const LEVELS: u8>(
            matrix: &IntegerPanels,
            panels: std::ops::Range<usize>,
            inputs: Inputs<'_>,
            y: &mut [&mut [f32]],
        ) {
            for (index, panel) in panels.enumerate() {
                let mut row = 0;
                while row < y.len() {
                    let at = (panel, row, index * PANEL);
                    let y = &mut y[row..];
                    row += if WIDE_TILES && y.len() >= 4 {
                        tile::<8, BITS, OFFSETS, HALVES, LEVELS>(matrix, inputs, at, y)
                    } else if WIDE_TILES && y.len() >= 2 {
                        tile::<4, BITS, OFFSETS, HALVES, LEVELS>(matrix, inputs, at, y)
                    } else {
                        tile::<2, BITS, OFFSETS, HALVES, LEVELS>(matrix, inputs, at, y)
                    };
                }
            }
        }

        /// Unpacks the quants of a block, four columns each.
        $(#[$instructions])*
        #[inline]
        fn unpacked<const BITS: usize>(lines: &[Line]) -> [Quads; 8] {
            let mut quads = [load(&lines[0]); 8];
            if BITS == 3 {
                let [a, b, c] = [load(&lines[0]), load(&lines[1]), load(&lines[2])];
                (quads[0], quads[1]) = (field::<0>(a, 7), field::<3>(a, 7));
                (quads[2], quads[3]) = (field::<0>(b, 7), field::<3>(b, 7));
                (quads[4], quads[5]) = (field::<0>(c, 7), field::<3>(c, 7));
                quads[6] = or(field::<6>(a, 3), field::<4>(c, 4));
                quads[7] = or(field::<6>(b, 3), field::<5>(c, 4));
                return quads;
            }
            if BITS == 6 {
                let parts = |at: usize| {
                    let (a, b, c) = (load(&lines[at]), load(&lines[at + 1]), load(&lines[at + 2]));
                    or(or(field::<6>(a, 3), field::<4>(b, 12)), field::<2>(c, 48))
                };
                for (quads, line) in quads.iter_mut().zip(lines) {
                    *quads = field::<0>(load(line), 63);
                }
                (quads[6], quads[7]) = (parts(0), parts(3));
                return quads;
            }
            for (index, line) in lines.iter().enumerate() {
                let line = load(line);
                match BITS {
                    1 => {
                        (quads[0], quads[1]) = (field::<0>(line, 1), field::<1>(line, 1));
                        (quads[2], quads[3]) = (field::<2>(line, 1), field::<3>(line, 1));
                        (quads[4], quads[5]) = (field::<4>(line, 1), field::<5>(line, 1));
                        (quads[6], quads[7]) = (field::<6>(line, 1), field::<7>(line, 1));
                    }
                    2 => {
                        quads[index] = field::<0>(line, 3);
                        quads[index + 2] = field::<2>(line, 3);
                        quads[index + 4] = field::<4>(line, 3);
                        quads[index + 6] = field::<6>(line, 3);
                    }
                    4 => (quads[index], quads[index + 4]) = (low(line), high(line)),
                    _ => quads[index] = line,
                }
            }
            quads
        }

        /// Multiplies one panel by `N / 2` input rows and their residuals, from `first` on, and
        /// writes the outputs from `column` on. Returns the number of input rows.
        $(#[$instructions])*
        #[inline]
        fn tile<
            const N: usize,
            const BITS: usize,
            const OFFSETS: bool,
            const HALVES: bool,
            const LEVELS: u8,
        >(
            matrix: &IntegerPanels,
            inputs: Inputs<'_>,
            (panel, first, column): (usize, usize, usize),
            y: &mut [&mut [f32]],
        ) -> usize {
            let zero_point = i32::from(matrix.integers.zero_point.unwrap_or(0));
            let (table, table_zero) = biased_table(matrix.integers.levels);
            let mut rows = [inputs.row(2 * first); N];
            for (index, row) in rows.iter_mut().enumerate() {
                *row = inputs.row(2 * first + index);
            }
            let mut sums = [splat(0.0); N];
            for (block, (lines, scales)) in matrix.panel_blocks(panel, BITS).enumerate() {
                let mut quads = unpacked::<BITS>(lines);
                if LEVELS == CUBIC {
                    add_cubic_block(&scales[0], &quads, block, &rows, &mut sums);
                    continue;
                }
                let last = usize::from(HALVES);
                let scale = [f16_to_f32(&scales[0]), f16_to_f32(&scales[last])];
                let mut offset = scale;
                if OFFSETS {
                    offset = [f16_to_f32(&scales[last + 1]), f16_to_f32(&scales[2 * last + 1])];
                }
                if LEVELS == TABLE || LEVELS == NARROW_TABLE {
                    for quad in &mut quads {
                        *quad = lookup(&table, *quad);
                    }
                }
                for (sum, row) in sums.iter_mut().zip(&rows) {
                    let (x, x_scale) = (&row[block], splat(row[block].scale));
                    for half in 0..1 + usize::from(HALVES) {
                        let range = if HALVES { 4 * half..4 * half + 4 } else { 0..8 };
                        let total = if HALVES { x.sums[half] } else { x.sums[0] + x.sums[1] };
                        let (quads, inputs) = (&quads[range.clone()], &x.quads[range]);
                        let products = int_to_f32(if LEVELS == TABLE {
                            dots::<8>(table_zero, total, quads, inputs)
                        } else if LEVELS == NARROW_TABLE {
                            dots::<7>(table_zero, total, quads, inputs)
                        } else if BITS > 4 {
                            dots::<BITS>(zero_point, total, quads, inputs)
                        } else {
                            dots::<4>(zero_point, total, quads, inputs)
                        });
                        let products = if LEVELS == SIGNS {
                            mul_add(products, splat(2.0), splat(-total as f32))
                        } else {
                            products
                        };
                        *sum = mul_add(products, mul(scale[half], x_scale), *sum);
                        if OFFSETS {
                            *sum = mul_add(offset[half], splat(x.scale * total as f32), *sum);
                        }
                    }
                }
            }
            let factors = load_floats(matrix.factors[panel]);
            for (y, sums) in y.iter_mut().zip(sums.chunks_exact(2)) {
                let sum = mul_add(sums[1], factors, mul(sums[0], factors));
                y[column..column + PANEL].copy_from_slice(&store(sum));
            }
            N / 2
        }

        /// Adds the products of a block of [`crate::formats::Levels::Cubic`]: the linear part
        /// from the quants, the cubic part from a table of their cubes.
        $(#[$instructions])*
        #[inline]
        fn add_cubic_block<const N: usize>(
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
            let [scale, bend, shift] = curve_terms(curves);
            let [scale, bend, shift] = [load_floats(scale), load_floats(bend), load_floats(shift)];
            for (sum, row) in sums.iter_mut().zip(rows) {
                let x = &row[block];
                let total = x.sums[0] + x.sums[1];
                let cubes = int_to_f32(dots::<8>(128, total, &cubed, &x.quads));
                let linear = int_to_f32(dots::<4>(0, 0, quads, &x.quads));
                let products = mul_add(cubes, bend, linear);
                let products = mul_add(shift, splat(total as f32), products);
                *sum = mul_add(products, mul(scale, splat(x.scale)), *sum);
            }
        }
    };
}

/// `(2 · quant − 15)³` in units of 3375 / 127, plus 128, rounded to the nearest integer. The
/// rounding moves a weight of the largest bend by at most 4 % of a step.
pub(super) const CUBES: [u8; 16] = {
    let mut cubes = [0; 16];
    let mut quant = 0;
    while quant < 16 {
        let odd = 2 * quant as i32 - 15;
        let cube = odd * odd * odd * 127;
        cubes[quant] = ((cube + 3375 * 128 + 3375 / 2) / 3375) as u8;
        quant += 1;
    }
    cubes
};
/// `(quant − 7.5)³` per unit of [`CUBES`].
const CUBE: f32 = 3375.0 / 127.0 / 8.0;

/// Scales of sixteen rows, their factors of [`CUBES`], and their shifts of quants counted from 0.
#[inline(always)]
pub(super) fn curve_terms(curves: &Halves) -> [[f32; PANEL]; 3] {
    let mut terms = [[0.0; PANEL]; 3];
    for (row, curve) in curves.0.iter().enumerate() {
        let [scale, bend, shift] = Curve(*curve).scale_bend_shift();
        (terms[0][row], terms[1][row], terms[2][row]) = (scale, bend * CUBE, shift - 7.5);
    }
    terms
}

/// True if the levels of a table differ by less than 128.
pub(super) fn is_narrow(table: &'static [i8; 16]) -> bool {
    let (table, _) = biased_table(Levels::Table(table));
    table.iter().all(|byte| *byte < 128)
}

/// The table of [`Levels::Table`] minus its least level: unsigned bytes, and the one of level 0.
#[inline(always)]
pub(super) fn biased_table(levels: Levels) -> ([u8; 16], i32) {
    match levels {
        Levels::Table(table) => {
            let least = table.iter().fold(0, |least: i8, level| least.min(*level));
            (table.map(|level| level.wrapping_sub(least).cast_unsigned()), -i32::from(least))
        }
        Levels::Linear | Levels::Cubic | Levels::Signs => ([0; 16], 0),
    }
}

pub(super) use {products, specialize};
