//! Loops over numbers in `f32`, compiled for each instruction set: what a compiler makes vectors of by
//! itself, once it may use the instructions. An instruction set's file says how many `QUERIES` of attention are
//! computed together: as many as it has registers for, of sixteen numbers each.

/// These functions, with the instructions of the attribute.
macro_rules! vectors {
    ($(#[$instructions:meta])*) => {
        /// `y = f(y)`.
        $(#[$instructions])*
        pub(super) fn apply(function: crate::kernels::Function, y: &mut [f32]) {
            super::functions::apply(function, y);
        }

        /// See [`super::inputs`].
        $(#[$instructions])*
        pub(super) fn round(row: &[f32], blocks: &mut [super::inputs::InputBlock]) {
            super::inputs::round(row, blocks);
        }

        /// See [`super::attention`].
        $(#[$instructions])*
        pub(super) fn unpack(
            rows: crate::kernels::CacheRows,
            words: &[f32],
            position: usize,
            first: usize,
            dim: usize,
            numbers: &mut [f32],
        ) {
            super::attention::unpack(rows, words, position, first, dim, numbers);
        }

        /// See [`super::attention`].
        $(#[$instructions])*
        pub(super) fn attend(
            shape: &crate::kernels::AttentionShape,
            query: &mut super::attention::Query<'_>,
            keys: &[f32],
            values: &[f32],
            weights: &mut Vec<f32>,
        ) {
            super::attention::attend(shape, query, keys, values, weights);
        }

        /// See [`super::attention`].
        $(#[$instructions])*
        pub(super) fn attend_together(
            shape: &crate::kernels::AttentionShape,
            queries: &mut [super::attention::Query<'_>],
            turned: &[f32],
            values: &[f32],
            weights: &mut Vec<f32>,
        ) {
            super::attention::attend_together::<QUERIES>(shape, queries, turned, values, weights);
        }

        /// See [`super::scan`].
        $(#[$instructions])*
        pub(super) fn convolve(conv: &[f32], inputs: &[&[f32]], y: &mut [f32]) {
            super::scan::convolve(conv, inputs, y);
        }

        /// See [`super::scan`].
        $(#[$instructions])*
        pub(super) fn scan_row(
            shape: crate::kernels::ScanShape,
            head: usize,
            row: &crate::kernels::ScanRow<'_>,
            scalars: &[f32],
            state: &mut [f32],
            y: &mut [f32],
        ) {
            super::scan::scan_row(shape, head, row, scalars, state, y);
        }
    };
}

pub(super) use vectors;
