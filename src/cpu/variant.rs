//! How the CPU computes: each kernel's meaning, or with which processor's instructions.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::attention::Query;
use super::floats::FloatPanels;
use super::inputs::{InputBlock, Inputs};
use super::packed::Packed;
use super::portable;
#[cfg(target_arch = "wasm32")]
use super::wasm;
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512, avxvnni};
#[cfg(target_arch = "aarch64")]
use super::{dotprod, neon};
use crate::kernels::{AttentionShape, CacheRows, Function, ScanRow, ScanShape};

/// Calls the function of that name of the variant's file.
macro_rules! with_instructions {
    ($variant:expr, $function:ident($($argument:expr),*)) => {
        match $variant {
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code, reason = "the processor was asked for these instructions")]
            variant @ CpuVariant::Avx512 if variant.is_available() => unsafe {
                avx512::$function($($argument),*)
            },
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code, reason = "the processor was asked for these instructions")]
            variant @ CpuVariant::AvxVnni if variant.is_available() => unsafe {
                avxvnni::$function($($argument),*)
            },
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code, reason = "the processor was asked for these instructions")]
            variant @ CpuVariant::Avx2 if variant.is_available() => unsafe {
                avx2::$function($($argument),*)
            },
            _ => portable::$function($($argument),*),
        }
    };
}

/// A way for the CPU to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CpuVariant {
    /// The meaning of each kernel: the reference, and slow.
    Exact,
    /// Products of whole numbers, as in all that follow; by what every processor has.
    Portable,
    /// AVX2.
    Avx2,
    /// AVX2 with the dot products of bytes of AVX-VNNI.
    AvxVnni,
    /// AVX-512 with its dot products of bytes.
    Avx512,
    /// NEON.
    Neon,
    /// NEON with its dot products of bytes.
    Dotprod,
    /// wasm's SIMD.
    Simd128,
    /// wasm's relaxed SIMD, with its dot products of bytes.
    Relaxed,
}

impl CpuVariant {
    /// Every one.
    pub const ALL: [CpuVariant; 9] = [
        CpuVariant::Exact,
        CpuVariant::Portable,
        CpuVariant::Avx2,
        CpuVariant::AvxVnni,
        CpuVariant::Avx512,
        CpuVariant::Neon,
        CpuVariant::Dotprod,
        CpuVariant::Simd128,
        CpuVariant::Relaxed,
    ];

    /// The quickest that this processor has.
    pub fn best() -> Self {
        let available = Self::ALL.into_iter().rev().find(|variant| variant.is_available());
        available.unwrap_or(CpuVariant::Portable)
    }

    /// Its name, in options and reports.
    pub fn name(self) -> &'static str {
        match self {
            CpuVariant::Exact => "exact",
            CpuVariant::Portable => "portable",
            CpuVariant::Avx2 => "avx2",
            CpuVariant::AvxVnni => "avxvnni",
            CpuVariant::Avx512 => "avx512",
            CpuVariant::Neon => "neon",
            CpuVariant::Dotprod => "dotprod",
            CpuVariant::Simd128 => "simd128",
            CpuVariant::Relaxed => "relaxed",
        }
    }

    /// The variant of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|variant| variant.name() == name)
    }

    /// Whether this processor has its instructions.
    pub fn is_available(self) -> bool {
        match self {
            CpuVariant::Exact | CpuVariant::Portable => true,
            #[cfg(target_arch = "x86_64")]
            CpuVariant::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("f16c")
                    && is_x86_feature_detected!("fma")
            }
            #[cfg(target_arch = "x86_64")]
            CpuVariant::AvxVnni => {
                CpuVariant::Avx2.is_available() && is_x86_feature_detected!("avxvnni")
            }
            #[cfg(target_arch = "x86_64")]
            CpuVariant::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(not(target_arch = "x86_64"))]
            CpuVariant::Avx2 | CpuVariant::AvxVnni | CpuVariant::Avx512 => false,
            CpuVariant::Neon => cfg!(target_arch = "aarch64"),
            #[cfg(target_arch = "aarch64")]
            CpuVariant::Dotprod => std::arch::is_aarch64_feature_detected!("dotprod"),
            #[cfg(not(target_arch = "aarch64"))]
            CpuVariant::Dotprod => false,
            // A build has the one or the other.
            CpuVariant::Simd128 => {
                cfg!(all(target_arch = "wasm32", not(target_feature = "relaxed-simd")))
            }
            CpuVariant::Relaxed => {
                cfg!(all(target_arch = "wasm32", target_feature = "relaxed-simd"))
            }
        }
    }

    /// Outputs of some panels, a row of them for each two of inputs: panels may be shared out.
    pub(crate) fn products(
        self,
        packed: &Packed,
        panels: Range<usize>,
        inputs: Inputs<'_>,
        y: &mut [&mut [f32]],
    ) {
        #[cfg(target_arch = "wasm32")]
        if matches!(self, CpuVariant::Simd128 | CpuVariant::Relaxed) {
            return wasm::products(packed, panels, inputs, y);
        }
        #[cfg(target_arch = "aarch64")]
        #[allow(unsafe_code, reason = "the processor was asked for these instructions")]
        match self {
            CpuVariant::Neon => return unsafe { neon::products(packed, panels, inputs, y) },
            variant @ CpuVariant::Dotprod if variant.is_available() => {
                return unsafe { dotprod::products(packed, panels, inputs, y) };
            }
            _ => {}
        }
        with_instructions!(self, products(packed, panels, inputs, y));
    }

    /// The same with floating-point numbers, a row of outputs for each of inputs.
    pub(crate) fn float_products(
        self,
        matrix: &FloatPanels,
        panels: Range<usize>,
        inputs: &[f32],
        y: &mut [&mut [f32]],
    ) {
        with_instructions!(self, float_products(matrix, panels, inputs, y));
    }

    /// `y = f(y)`.
    pub(super) fn apply(self, function: Function, y: &mut [f32]) {
        with_instructions!(self, apply(function, y));
    }

    /// See [`super::inputs`].
    pub(super) fn round(self, row: &[f32], blocks: &mut [InputBlock]) {
        with_instructions!(self, round(row, blocks));
    }

    /// See [`super::attention`].
    pub(super) fn unpack(
        self,
        rows: CacheRows,
        words: &[f32],
        position: usize,
        first: usize,
        dim: usize,
        numbers: &mut [f32],
    ) {
        with_instructions!(self, unpack(rows, words, position, first, dim, numbers));
    }

    /// See [`super::attention`].
    pub(super) fn attend(
        self,
        shape: &AttentionShape,
        query: &mut Query<'_>,
        keys: &[f32],
        values: &[f32],
        weights: &mut Vec<f32>,
    ) {
        with_instructions!(self, attend(shape, query, keys, values, weights));
    }

    /// See [`super::attention`].
    pub(super) fn attend_together(
        self,
        shape: &AttentionShape,
        queries: &mut [Query<'_>],
        turned: &[f32],
        values: &[f32],
        weights: &mut Vec<f32>,
    ) {
        with_instructions!(self, attend_together(shape, queries, turned, values, weights));
    }

    /// See [`super::scan`].
    pub(super) fn convolve(self, conv: &[f32], inputs: &[&[f32]], y: &mut [f32]) {
        with_instructions!(self, convolve(conv, inputs, y));
    }

    /// See [`super::scan`].
    pub(super) fn scan_row(
        self,
        shape: ScanShape,
        head: usize,
        row: &ScanRow<'_>,
        scalars: &[f32],
        state: &mut [f32],
        y: &mut [f32],
    ) {
        with_instructions!(self, scan_row(shape, head, row, scalars, state, y));
    }
}
