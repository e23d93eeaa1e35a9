//! Loops over f32 that the compiler vectorizes, compiled for each instruction set. The file of an
//! instruction set defines `QUERIES`, the number of attention queries computed together: as many
//! as the registers can hold sums for, sixteen per query; `WIDENS`, whether it has instructions
//! that widen f16; `multiply_add`, rounded once where it has such an instruction; and the functions
//! on `Floats` of [`super::microkernel`].

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
            let widen = WIDENS.then_some(|halves: &_| store(f16_to_f32(halves)));
            super::attend::unpack(rows, words, position, first, dim, elements, widen);
        }

        /// `Σ a · b`.
        $(#[$instructions])*
        #[inline]
        fn dot(a: &[f32], b: &[f32]) -> f32 {
            let ((a, a_rest), (b, b_rest)) = (a.as_chunks(), b.as_chunks());
            let mut sums = splat(0.0);
            for (a, b) in a.iter().zip(b) {
                sums = mul_add(load_floats(*a), load_floats(*b), sums);
            }
            let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
            super::attend::sum(store(sums)) + rest
        }

        /// See [`super::attend::attend`].
        $(#[$instructions])*
        pub(super) fn attend(
            shape: &crate::kernels::AttentionShape,
            queries: &mut [super::attend::Query<'_>],
            caches: [&super::attend::HeadCache<'_>; 2],
            scratch: &mut super::attend::AttendScratch,
        ) {
            let widen = WIDENS.then_some(|halves: &_| store(f16_to_f32(halves)));
            let multiply_add = |a, b, c| multiply_add(a, b, c);
            let dot = |a: &[f32], b: &[f32]| dot(a, b);
            super::attend::attend(shape, queries, caches, scratch, widen, dot, multiply_add);
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
