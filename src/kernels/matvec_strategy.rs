//! Strategies of the matrix-vector product: how the invocations of a workgroup share the sums of a
//! quad of outputs (`shaders/reductions/`, `shaders/loads/`), and the number type in which they
//! multiply (`shaders/arithmetic/`). The fastest strategy depends on the adapter.

use half::f16;
use serde::{Deserialize, Serialize};

use super::Import;
use crate::formats::{Format, UNIT};

/// Invocations of a workgroup in which each computes a quad by itself: some SIMD vectors of a
/// processor, and still enough workgroups for its cores.
const LANE_PER_QUAD_INVOCATIONS: u32 = 16;

/// Division of the columns of a quad of outputs among invocations ("lanes"), and the sum over them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reduction {
    /// Sums in workgroup memory; 4 to 32 lanes per quad, so that each has about 32 units.
    #[default]
    WorkgroupReduce,
    /// Sums in workgroup memory; 32 lanes per quad, workgroups of 128: the widest coalesced loads.
    WorkgroupReduce32,
    /// Sums by subgroup functions; 32 lanes per quad.
    SubgroupReduce,
    /// One lane per quad and no barrier: for software adapters, which run shaders on the CPU.
    LanePerQuad,
    /// One lane per quad; four lanes share the loads of inputs by `quadBroadcast`.
    LanePerQuadBroadcast,
}

impl Reduction {
    /// Name in options and reports, in snake case.
    pub const fn name(self) -> &'static str {
        match self {
            Reduction::WorkgroupReduce => "workgroup_reduce",
            Reduction::WorkgroupReduce32 => "workgroup_reduce_32",
            Reduction::SubgroupReduce => "subgroup_reduce",
            Reduction::LanePerQuad => "lane_per_quad",
            Reduction::LanePerQuadBroadcast => "lane_per_quad_broadcast",
        }
    }
}

/// Number type in which quants are multiplied with inputs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Arithmetic {
    /// Inputs and products in `f32`.
    #[default]
    F32,
    /// Inputs and the products of a unit in `f16`, inputs scaled to at most 1 in a unit.
    F16,
    /// Inputs rounded to `i8`, with a scale for each eight; `dot4I8Packed` multiplies four at once.
    Dp4a,
    /// Inputs rounded to 10 bits, with a scale for each unit; one 32-bit multiplication computes
    /// two products. For quants of at most 4 bits.
    Int10x2,
}

impl Arithmetic {
    /// Name in options and reports, in snake case.
    pub const fn name(self) -> &'static str {
        match self {
            Arithmetic::F32 => "f32",
            Arithmetic::F16 => "f16",
            Arithmetic::Dp4a => "dp4a",
            Arithmetic::Int10x2 => "int10x2",
        }
    }

    /// Widest quants that the arithmetic multiplies, in bits.
    const fn max_quant_bits(self) -> u32 {
        match self {
            Arithmetic::Int10x2 => 4,
            _ => 8,
        }
    }
}

/// A way to compute a matrix-vector product.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(type = "string"))]
pub struct MatvecStrategy {
    /// Division of a quad of outputs among lanes.
    pub reduction: Reduction,
    /// Number type of the products.
    pub arithmetic: Arithmetic,
}

impl MatvecStrategy {
    /// The strategies that there are shaders for.
    pub const ALL: [MatvecStrategy; 8] = [
        MatvecStrategy::in_f32(Reduction::WorkgroupReduce),
        MatvecStrategy::in_f32(Reduction::WorkgroupReduce32),
        MatvecStrategy::in_f32(Reduction::SubgroupReduce),
        MatvecStrategy::new(Reduction::WorkgroupReduce32, Arithmetic::F16),
        MatvecStrategy::new(Reduction::WorkgroupReduce32, Arithmetic::Dp4a),
        MatvecStrategy::in_f32(Reduction::LanePerQuad),
        MatvecStrategy::in_f32(Reduction::LanePerQuadBroadcast),
        MatvecStrategy::new(Reduction::LanePerQuadBroadcast, Arithmetic::Int10x2),
    ];

    /// A reduction with an arithmetic; only those of [`Self::ALL`] have shaders.
    pub const fn new(reduction: Reduction, arithmetic: Arithmetic) -> Self {
        Self { reduction, arithmetic }
    }

    /// A reduction with inputs in `f32`.
    pub const fn in_f32(reduction: Reduction) -> Self {
        Self::new(reduction, Arithmetic::F32)
    }

    /// Name in options, reports and environment variables: the reduction's, followed by the
    /// arithmetic's unless that is `f32`.
    pub fn name(self) -> String {
        match self.arithmetic {
            Arithmetic::F32 => self.reduction.name().to_owned(),
            arithmetic => format!("{}_{}", self.reduction.name(), arithmetic.name()),
        }
    }

    /// The strategy of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|strategy| strategy.name() == name)
    }

    /// Features that its shaders use, by their names in an adapter's report.
    fn required_features(self) -> impl Iterator<Item = &'static str> {
        let reduction = match self.reduction {
            Reduction::WorkgroupReduce | Reduction::WorkgroupReduce32 | Reduction::LanePerQuad => {
                None
            }
            Reduction::SubgroupReduce | Reduction::LanePerQuadBroadcast => Some("subgroups"),
        };
        let arithmetic = match self.arithmetic {
            Arithmetic::F32 | Arithmetic::Int10x2 => None,
            Arithmetic::F16 => Some("shader-f16"),
            Arithmetic::Dp4a => Some("packed_4x8_integer_dot_product"),
        };
        reduction.into_iter().chain(arithmetic)
    }

    /// The first required feature that is not among `features`.
    pub fn missing_feature(self, features: &[String]) -> Option<&'static str> {
        self.required_features().find(|needed| features.iter().all(|feature| feature != needed))
    }

    /// The strategy with the same reduction in `f32`.
    pub fn without_rounding(self) -> Self {
        Self::in_f32(self.reduction)
    }

    /// The strategy to use for weights in `format`: inputs are rounded only where weights are
    /// quants that the arithmetic can multiply.
    pub fn for_format(self, format: Format) -> Self {
        match format.rules().quant_bits() {
            Some(bits) if bits <= self.arithmetic.max_quant_bits() => self,
            _ => self.without_rounding(),
        }
    }

    pub(super) fn imports(self) -> Vec<Import> {
        let loads = match (self.reduction, self.arithmetic) {
            (Reduction::LanePerQuadBroadcast, Arithmetic::Int10x2) => {
                "loads/inputs_broadcast4_int10x2"
            }
            (Reduction::LanePerQuadBroadcast, _) => "loads/inputs_broadcast4",
            _ => "loads/inputs_per_lane",
        };
        let reduction = match self.reduction {
            Reduction::WorkgroupReduce | Reduction::WorkgroupReduce32 => {
                "reductions/workgroup_reduce"
            }
            Reduction::SubgroupReduce => "reductions/subgroup_reduce",
            Reduction::LanePerQuad | Reduction::LanePerQuadBroadcast => "reductions/lane_per_quad",
        };
        let arithmetic = match self.arithmetic {
            Arithmetic::F32 => "arithmetic/f32",
            Arithmetic::F16 => "arithmetic/f16",
            Arithmetic::Dp4a => "arithmetic/dp4a",
            Arithmetic::Int10x2 => "arithmetic/int10x2",
        };
        vec![("loads", loads), ("reduction", reduction), ("arithmetic/f32", arithmetic)]
    }

    /// Lanes that share a quad of outputs, of rows of `columns` weights.
    pub(super) fn lanes(self, columns: u32) -> u32 {
        let units = columns.div_ceil(UNIT as u32);
        match self.reduction {
            Reduction::WorkgroupReduce => (units / 32).next_power_of_two().clamp(4, 32),
            Reduction::WorkgroupReduce32 | Reduction::SubgroupReduce => 32,
            Reduction::LanePerQuad | Reduction::LanePerQuadBroadcast => 1,
        }
    }

    /// Invocations of a workgroup.
    pub(super) fn invocations(self) -> u32 {
        match self.reduction {
            Reduction::WorkgroupReduce => 64,
            Reduction::WorkgroupReduce32 | Reduction::SubgroupReduce => 128,
            Reduction::LanePerQuad | Reduction::LanePerQuadBroadcast => LANE_PER_QUAD_INVOCATIONS,
        }
    }

    /// CPU reference: inputs rounded as the shaders round them. Sums of products in `f16` are not
    /// imitated; the tolerances of the tests allow for their rounding.
    pub(super) fn rounded(self, mut inputs: Vec<f32>) -> Vec<f32> {
        // Number of inputs that share a scale, and the value to which the largest is scaled.
        let (group, largest) = match self.arithmetic {
            Arithmetic::F32 => return inputs,
            Arithmetic::F16 => (UNIT, 1.0),
            Arithmetic::Dp4a => (8, 127.0),
            Arithmetic::Int10x2 => (UNIT, 511.0),
        };
        for inputs in inputs.chunks_mut(group) {
            let scale = inputs.iter().fold(0.0f32, |most, x| most.max(x.abs())) / largest;
            let inverse = if scale > 1e-30 { 1.0 / scale } else { 0.0 };
            for x in inputs {
                let scaled = *x * inverse;
                let rounded = match self.arithmetic {
                    Arithmetic::F16 => f16::from_f32(scaled).to_f32(),
                    _ => scaled.round_ties_even(),
                };
                *x = rounded * scale;
            }
        }
        inputs
    }
}

impl From<MatvecStrategy> for String {
    fn from(strategy: MatvecStrategy) -> Self {
        strategy.name()
    }
}

impl TryFrom<String> for MatvecStrategy {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        Self::parse(&name).ok_or_else(|| format!("found {name}, expected one of {}", names()))
    }
}
