//! Loops over f32 that the compiler vectorizes, compiled for each instruction set. The file of an
//! instruction set defines `QUERIES`, the number of attention queries computed together: as many
//! as the registers can hold sums for, sixteen per query.

/// Defines the loops, compiled with the given `target_feature` attribute.
macro_rules! vectorized_loops {
    ($(#[$instructions:meta])*) => {
        /// See [`super::functions::apply`].
        $(#[$instructions])*
        pub(super) fn apply(function: crate::kernels::ActivationFunction, y: &mut [f32]) {
            super::functions::apply(function, y);
        }

        /// See [`super::inputs::quantize`].
        $(#[$instructions])*
        pub(super) fn quantize(row: &[f32], blocks: &mut [super::inputs::InputBlock]) {
            super::inputs::quantize(row, blocks);
        }

        /// See [`super::attend::unpack`].
        $(#[$instructions])*
        pub(super) fn unpack(
            rows: crate::kernels::CacheRows,
            words: &[f32],
            position: usize,
            first: usize,
            dim: usize,
            elements: &mut [f32],
        ) {
            super::attend::unpack(rows, words, position, first, dim, elements);
        }

        /// See [`super::attend::attend`].
        $(#[$instructions])*
        pub(super) fn attend(
            shape: &crate::kernels::AttentionShape,
            query: &mut super::attend::Query<'_>,
            keys: &[f32],
            values: &[f32],
            weights: &mut Vec<f32>,
        ) {
            super::attend::attend(shape, query, keys, values, weights);
        }

        /// See [`super::attend::attend_batch`].
        $(#[$instructions])*
        pub(super) fn attend_batch(
            shape: &crate::kernels::AttentionShape,
            queries: &mut [super::attend::Query<'_>],
            transposed: &[f32],
            values: &[f32],
            weights: &mut Vec<f32>,
        ) {
            super::attend::attend_batch::<QUERIES>(shape, queries, transposed, values, weights);
        }

        /// See [`super::recurrence::convolve`].
        $(#[$instructions])*
        pub(super) fn convolve(conv: &[f32], inputs: &[&[f32]], y: &mut [f32]) {
            super::recurrence::convolve(conv, inputs, y);
        }

        /// See [`super::recurrence::convolve_gated`].
        $(#[$instructions])*
        pub(super) fn convolve_gated(
            weights: &[f32],
            rows: &[[&[f32]; 3]],
            past: &[&[f32]],
            y: &mut [f32],
        ) {
            super::recurrence::convolve_gated(weights, rows, past, y);
        }

        /// See [`super::recurrence::scan_row`].
        $(#[$instructions])*
        pub(super) fn scan_row(
            shape: crate::kernels::ScanShape,
            head: usize,
            row: &super::recurrence::ScanRow<'_>,
            scalars: &[f32],
            state: &mut [f32],
            y: &mut [f32],
        ) {
            super::recurrence::scan_row(shape, head, row, scalars, state, y);
        }
    };
}

pub(super) use vectorized_loops;
