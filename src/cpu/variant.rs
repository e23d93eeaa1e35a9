//! Implementations that the CPU executor can choose from: the CPU reference of each kernel, or
//! micro-kernels and loops compiled for an instruction set.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::attend::{AttendScratch, HeadCache, Query};
use super::float_panels::FloatPanels;
use super::inputs::{InputBlock, Inputs};
use super::integer_panels::IntegerPanels;
use super::portable;
use super::recurrence::ScanRow;
#[cfg(target_arch = "wasm32")]
use super::wasm;
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512, avxvnni};
#[cfg(target_arch = "aarch64")]
use super::{dotprod, neon};
use crate::kernels::{ActivationFunction, AttentionShape, CacheRows, ScanShape};

/// Calls the function of that name in the file of the variant's instruction set.
macro_rules! with_instructions {
    ($variant:expr, $function:ident($($argument:expr),*)) => {
        match $variant {
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code, reason = "the processor has these instructions")]
            variant @ CpuVariant::Avx512 if variant.is_available() => unsafe {
                avx512::$function($($argument),*)
            },
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code, reason = "the processor has these instructions")]
            variant @ CpuVariant::AvxVnni if variant.is_available() => unsafe {
                avxvnni::$function($($argument),*)
            },
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code, reason = "the processor has these instructions")]
            variant @ CpuVariant::Avx2 if variant.is_available() => unsafe {
                avx2::$function($($argument),*)
            },
            _ => portable::$function($($argument),*),
        }
    };
}

/// Implementation of the kernels on the CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub enum CpuVariant {
    /// The CPU reference of each kernel, in f64 on one thread: slow.
    Exact,
    /// Integer products and f32 loops without specific instructions. The variants below compile
    /// the same code for an instruction set. In wasm, integer products are those of its SIMD.
    Portable,
    /// AVX2.
    Avx2,
    /// AVX2 with the int8 dot products of AVX-VNNI.
    AvxVnni,
    /// AVX-512 F and BW with the int8 dot products of AVX-512 VNNI.
    Avx512,
    /// NEON.
    Neon,
    /// NEON with its int8 dot products.
    Dotprod,
    /// WebAssembly SIMD.
    Simd128,
    /// WebAssembly relaxed SIMD, with its int8 dot products.
    Relaxed,
}

impl CpuVariant {
    /// All variants, slower ones first on each architecture.
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

    /// The fastest variant that this processor has.
    pub fn best() -> Self {
        let available = Self::ALL.into_iter().rev().find(|variant| variant.is_available());
        available.unwrap_or(CpuVariant::Portable)
    }

    /// Name in options and reports.
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

    /// The variant with that [`CpuVariant::name`].
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|variant| variant.name() == name)
    }

    /// True if this processor has the variant's instructions.
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
            // Decided when the module is built: wasm has no feature detection at run time.
            CpuVariant::Simd128 => {
                cfg!(all(target_arch = "wasm32", not(target_feature = "relaxed-simd")))
            }
            CpuVariant::Relaxed => {
                cfg!(all(target_arch = "wasm32", target_feature = "relaxed-simd"))
            }
        }
    }

    /// Multiplies panels by rows of quantized inputs; see [`super::microkernel`].
    pub(crate) fn products(
        self,
        matrix: &IntegerPanels,
        panels: Range<usize>,
        inputs: Inputs<'_>,
        y: &mut [&mut [f32]],
    ) {
        #[cfg(target_arch = "wasm32")]
        wasm::products(matrix, panels, inputs, y);
        #[cfg(target_arch = "aarch64")]
        #[allow(unsafe_code, reason = "the processor has these instructions")]
        match self {
            CpuVariant::Neon => return unsafe { neon::products(matrix, panels, inputs, y) },
            variant @ CpuVariant::Dotprod if variant.is_available() => {
                return unsafe { dotprod::products(matrix, panels, inputs, y) };
            }
            _ => {}
        }
        #[cfg(not(target_arch = "wasm32"))]
        with_instructions!(self, products(matrix, panels, inputs, y));
    }

    /// Multiplies panels by rows of f32 inputs; see [`super::float_panels`].
    pub(crate) fn float_products(
        self,
        matrix: &FloatPanels,
        panels: Range<usize>,
        inputs: &[f32],
        y: &mut [&mut [f32]],
    ) {
        with_instructions!(self, float_products(matrix, panels, inputs, y));
    }

    /// See [`super::functions::apply`].
    pub(super) fn apply(self, function: ActivationFunction, y: &mut [f32]) {
        with_instructions!(self, apply(function, y));
    }

    /// See [`super::inputs::quantize`].
    pub(super) fn quantize(self, row: &[f32], blocks: &mut [InputBlock]) {
        with_instructions!(self, quantize(row, blocks));
    }

    /// See [`super::attend::unpack`].
    pub(super) fn unpack(
        self,
        rows: CacheRows,
        words: &[f32],
        row: usize,
        first: usize,
        dim: usize,
        elements: &mut [f32],
    ) {
        with_instructions!(self, unpack(rows, words, row, first, dim, elements));
    }

    /// See [`super::attend::attend`].
    pub(super) fn attend(
        self,
        shape: &AttentionShape,
        queries: &mut [Query<'_>],
        caches: [&HeadCache<'_>; 2],
        scratch: &mut AttendScratch,
    ) {
        with_instructions!(self, attend(shape, queries, caches, scratch));
    }

    /// See [`super::attend::attend_batch`].
    pub(super) fn attend_batch(
        self,
        shape: &AttentionShape,
        queries: &mut [Query<'_>],
        transposed: &[f32],
        values: &[f32],
        weights: &mut Vec<f32>,
    ) {
        with_instructions!(self, attend_batch(shape, queries, transposed, values, weights));
    }

    /// See [`super::recurrence::convolve`].
    pub(super) fn convolve(self, conv: &[f32], inputs: &[&[f32]], y: &mut [f32]) {
        with_instructions!(self, convolve(conv, inputs, y));
    }

    /// See [`super::recurrence::convolve_gated`].
    pub(super) fn convolve_gated(
        self,
        weights: &[f32],
        rows: &[[&[f32]; 3]],
        past: &[&[f32]],
        y: &mut [f32],
    ) {
        with_instructions!(self, convolve_gated(weights, rows, past, y));
    }

    /// See [`super::recurrence::scan_row`].
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
