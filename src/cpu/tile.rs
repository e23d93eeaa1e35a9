//! The product of a panel and some rows of inputs, written once and compiled for each instruction set.
//!
//! An instruction set's file has three types, each a number for sixteen rows of weights, `Quads` (four
//! bytes), `Ints` and `Floats`, and what is done with them:
//! `load(&Line) -> Quads`, `low` and `high` nibbles of each byte,
//! `dots::<BITS>(zero, sum, &[Quads], &[i32]) -> Ints` (of weights less `zero`, and of inputs whose sum is told),
//! `halves(&Halves) -> Floats`, `floats(Ints)`, `splat`, `mul`, `mul_add(a, b, c)`: a · b + c, `store`.

/// `products`, with the instructions of the attribute.
macro_rules! products {
    ($(#[$instructions:meta])*) => {
        /// Outputs of some panels, `y[panel][row of inputs][row of weights]`.
        $(#[$instructions])*
        pub(super) fn products(
            packed: &Packed,
            panels: std::ops::Range<usize>,
            inputs: &Inputs,
            y: &mut [[f32; PANEL]],
        ) {
            let Integers { bits, zero, group } = packed.integers;
            match (bits, zero, group) {
                (4, Some(_), _) => all::<4, false, false>(packed, panels, inputs, y),
                (4, None, _) => all::<4, true, false>(packed, panels, inputs, y),
                (_, None, _) => all::<8, true, false>(packed, panels, inputs, y),
                (_, Some(_), 16) => all::<8, false, true>(packed, panels, inputs, y),
                (_, Some(_), _) => all::<8, false, false>(packed, panels, inputs, y),
            }
        }

        $(#[$instructions])*
        #[inline]
        fn all<const BITS: usize, const OFFSETS: bool, const HALVES: bool>(
            packed: &Packed,
            panels: std::ops::Range<usize>,
            inputs: &Inputs,
            y: &mut [[f32; PANEL]],
        ) {
            let rows = inputs.rows();
            for (index, y) in panels.zip(y.chunks_exact_mut(rows)) {
                let mut row = 0;
                while row < rows {
                    let (y, left) = (&mut y[row..], rows - row);
                    row += if left >= 8 {
                        tile::<8, BITS, OFFSETS, HALVES>(packed, index, inputs, row, y)
                    } else if left >= 4 {
                        tile::<4, BITS, OFFSETS, HALVES>(packed, index, inputs, row, y)
                    } else {
                        tile::<1, BITS, OFFSETS, HALVES>(packed, index, inputs, row, y)
                    };
                }
            }
        }

        /// One panel and `N` rows of inputs, from `first` on; how many that are.
        $(#[$instructions])*
        #[inline]
        fn tile<const N: usize, const BITS: usize, const OFFSETS: bool, const HALVES: bool>(
            packed: &Packed,
            panel: usize,
            inputs: &Inputs,
            first: usize,
            y: &mut [[f32; PANEL]],
        ) -> usize {
            let (blocks, scales_of_a_block) = (packed.blocks(), packed.block_scales());
            let lines = packed.lines[panel * blocks * BITS..].chunks_exact(BITS);
            let scales = packed.scales[panel * blocks * scales_of_a_block..].chunks_exact(scales_of_a_block);
            let zero = i32::from(packed.integers.zero.unwrap_or(0));
            let mut rows = [inputs.row(first); N];
            for (index, row) in rows.iter_mut().enumerate() {
                *row = inputs.row(first + index);
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
            let factors = &packed.factors[panel];
            for (y, sum) in y.iter_mut().zip(sums) {
                let sum = store(sum);
                for ((y, sum), factor) in y.iter_mut().zip(sum).zip(factors) {
                    *y = sum * factor;
                }
            }
            N
        }
    };
}

pub(super) use products;
