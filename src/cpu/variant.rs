//! How the CPU computes: each kernel's meaning, or with which processor's instructions.

use std::ops::Range;

use serde::{Deserialize, Serialize};

#[cfg(target_arch = "x86_64")]
use super::avx512;
use super::inputs::Inputs;
use super::packed::{PANEL, Packed};
use super::portable;

/// A way for the CPU to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CpuVariant {
    /// The meaning of each kernel: the reference, and slow.
    Exact,
    /// Inputs of products in eight bits, as in all that follow; what every processor has.
    Portable,
    /// AVX-512 with its dot products of bytes.
    Avx512,
}

impl CpuVariant {
    /// Every one.
    pub const ALL: [CpuVariant; 3] = [CpuVariant::Exact, CpuVariant::Portable, CpuVariant::Avx512];

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
            CpuVariant::Avx512 => "avx512",
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
            CpuVariant::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(not(target_arch = "x86_64"))]
            CpuVariant::Avx512 => false,
        }
    }

    /// Outputs of some panels, `y[panel][row of inputs][row of weights]`: panels may be shared out.
    pub(crate) fn products(
        self,
        packed: &Packed,
        panels: Range<usize>,
        inputs: &Inputs,
        y: &mut [[f32; PANEL]],
    ) {
        match self {
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code, reason = "the processor was asked for these instructions")]
            CpuVariant::Avx512 if self.is_available() => unsafe {
                avx512::products(packed, panels, inputs, y);
            },
            _ => portable::products(packed, panels, inputs, y),
        }
    }
}
