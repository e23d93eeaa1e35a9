//! How a matrix-vector product is computed: how lanes work together, `shaders/variants/`, and in what
//! numbers, `shaders/lib/products.wgsl`. Which is fastest depends on the adapter.

use half::f16;
use serde::{Deserialize, Serialize};

use super::Import;
use crate::formats::{Format, UNIT};

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
    /// As `Wide`, products of a unit in half precision.
    Half,
    /// As `Wide`, inputs rounded to bytes, four products at once.
    Packed,
    /// Each lane has a quad for itself and no barrier, which processors that act as a GPU like.
    Alone,
    /// The same, and four lanes share the loading of inputs.
    Quads,
    /// The same, for nibbles: inputs rounded to ten bits, two products in a multiplication of words.
    Pairs,
}

impl Variant {
    /// Every variant.
    pub const ALL: [Variant; 8] = [
        Variant::Together,
        Variant::Wide,
        Variant::Subgroups,
        Variant::Half,
        Variant::Packed,
        Variant::Alone,
        Variant::Quads,
        Variant::Pairs,
    ];

    /// Its name, in options and reports.
    pub fn name(self) -> &'static str {
        match self {
            Variant::Together => "together",
            Variant::Wide => "wide",
            Variant::Subgroups => "subgroups",
            Variant::Half => "half",
            Variant::Packed => "packed",
            Variant::Alone => "alone",
            Variant::Quads => "quads",
            Variant::Pairs => "pairs",
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
            Variant::Subgroups | Variant::Quads | Variant::Pairs => &["subgroups"],
            Variant::Half => &["shader-f16"],
            Variant::Packed => &["packed_4x8_integer_dot_product"],
        }
    }

    /// The first feature it needs that is not among these.
    pub fn lacks(self, features: &[String]) -> Option<&'static str> {
        self.needs().iter().copied().find(|needed| features.iter().all(|feature| feature != needed))
    }

    /// The variant without rounding: itself where it rounds nothing.
    pub fn exact(self) -> Self {
        match self {
            Variant::Half | Variant::Packed => Variant::Wide,
            Variant::Pairs => Variant::Quads,
            exact => exact,
        }
    }

    /// What it is for weights in that format: inputs are rounded only for what is rounded itself.
    pub fn of(self, format: Format) -> Self {
        match (self, format.rules().quant_bits()) {
            (_, None) => self.exact(),
            (Variant::Pairs, Some(bits)) if bits > 4 => self.exact(),
            _ => self,
        }
    }

    pub(super) fn imports(self) -> Vec<Import> {
        let inputs = match self {
            Variant::Quads => "subgroups/inputs",
            Variant::Pairs => "subgroups/pairs",
            _ => "variants/inputs",
        };
        let total = match self {
            Variant::Together | Variant::Wide | Variant::Half | Variant::Packed => {
                "variants/together"
            }
            Variant::Subgroups => "subgroups/total",
            Variant::Alone | Variant::Quads | Variant::Pairs => "variants/alone",
        };
        let products = match self {
            Variant::Half => Some("f16/halves"),
            Variant::Packed => Some("products/packed"),
            Variant::Pairs => Some("products/pairs"),
            _ => None,
        };
        let products = products.map(|file| ("lib/products", file));
        [("inputs", inputs), ("total", total)].into_iter().chain(products).collect()
    }

    /// Lanes that share a quad of outputs, of rows of that many weights.
    pub(super) fn lanes(self, columns: u32) -> u32 {
        let units = columns.div_ceil(UNIT as u32);
        match self {
            Variant::Together => (units / 32).next_power_of_two().clamp(4, 32),
            Variant::Wide | Variant::Subgroups | Variant::Half | Variant::Packed => 32,
            Variant::Alone | Variant::Quads | Variant::Pairs => 1,
        }
    }

    /// Invocations of a workgroup.
    pub(super) fn invocations(self) -> u32 {
        match self {
            Variant::Together => 64,
            Variant::Wide | Variant::Subgroups | Variant::Half | Variant::Packed => 128,
            Variant::Alone | Variant::Quads | Variant::Pairs => QUADS_ALONE,
        }
    }

    /// Inputs as its shaders round them; what they round besides, the products in half precision, is
    /// left to tolerances.
    pub(super) fn rounded(self, mut inputs: Vec<f32>) -> Vec<f32> {
        // How many inputs share a scale, and what the greatest of them becomes.
        let (together, most) = match self {
            Variant::Half => (UNIT, 1.0),
            Variant::Packed => (8, 127.0),
            Variant::Pairs => (UNIT, 511.0),
            _ => return inputs,
        };
        for inputs in inputs.chunks_mut(together) {
            let scale = inputs.iter().fold(0.0f32, |greatest, x| greatest.max(x.abs())) / most;
            let inverse = if scale > 1e-30 { 1.0 / scale } else { 0.0 };
            for x in inputs {
                let part = *x * inverse;
                let part = if self == Variant::Half {
                    f16::from_f32(part).to_f32()
                } else {
                    part.round_ties_even()
                };
                *x = part * scale;
            }
        }
        inputs
    }
}
