//! How the lanes of a matrix-vector product work together: `shaders/variants/`. All variants mean the
//! same; which is fastest depends on the adapter.

use serde::{Deserialize, Serialize};

use super::Import;
use crate::formats::UNIT;

/// Quads of outputs of a workgroup whose lanes work alone: some SIMD groups of a processor, and
/// enough workgroups for its cores.
const QUADS_ALONE: u32 = 16;

/// A way to compute a product.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// Few lanes share a quad of outputs, so that each has some 30 units to go through.
    #[default]
    Together,
    /// A warp's worth of lanes shares a quad: what a graphics card reads fastest.
    Wide,
    /// The same, summed in subgroups.
    Subgroups,
    /// Each lane has a quad for itself and no barrier, which processors that act as a GPU like.
    Alone,
    /// The same, and four lanes share the loading of inputs; needs subgroups.
    Quads,
}

impl Variant {
    /// Every variant.
    pub const ALL: [Variant; 5] =
        [Variant::Together, Variant::Wide, Variant::Subgroups, Variant::Alone, Variant::Quads];

    /// Its name, in options and reports.
    pub fn name(self) -> &'static str {
        match self {
            Variant::Together => "together",
            Variant::Wide => "wide",
            Variant::Subgroups => "subgroups",
            Variant::Alone => "alone",
            Variant::Quads => "quads",
        }
    }

    /// The variant of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|variant| variant.name() == name)
    }

    /// Features that its shaders use, by their WebGPU names.
    pub fn needs(self) -> &'static [&'static str] {
        match self {
            Variant::Together | Variant::Wide | Variant::Alone => &[],
            Variant::Subgroups | Variant::Quads => &["subgroups"],
        }
    }

    /// The first feature it needs that is not among these.
    pub fn lacks(self, features: &[String]) -> Option<&'static str> {
        self.needs().iter().copied().find(|needed| features.iter().all(|feature| feature != needed))
    }

    pub(super) fn imports(self) -> [Import; 2] {
        let inputs = match self {
            Variant::Quads => "subgroups/inputs",
            _ => "variants/inputs",
        };
        let total = match self {
            Variant::Together | Variant::Wide => "variants/together",
            Variant::Subgroups => "subgroups/total",
            Variant::Alone | Variant::Quads => "variants/alone",
        };
        [("inputs", inputs), ("total", total)]
    }

    /// Lanes that share a quad of outputs, of rows of that many weights.
    pub(super) fn lanes(self, columns: u32) -> u32 {
        let units = columns.div_ceil(UNIT as u32);
        match self {
            Variant::Together => (units / 32).next_power_of_two().clamp(4, 32),
            Variant::Wide | Variant::Subgroups => 32,
            Variant::Alone | Variant::Quads => 1,
        }
    }

    /// Invocations of a workgroup.
    pub(super) fn invocations(self) -> u32 {
        match self {
            Variant::Together => 64,
            Variant::Wide | Variant::Subgroups => 128,
            Variant::Alone | Variant::Quads => QUADS_ALONE,
        }
    }
}
