//! Tilings of the matrix product for many rows (`shaders/tilings/`): rows and outputs of a
//! workgroup, and how its invocations ("lanes") load their operands. All tilings compute the same
//! products; the fastest one depends on the adapter.

use serde::{Deserialize, Serialize};

use super::Import;

/// A division of a matrix product into workgroups and lanes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub enum MatmulTiling {
    /// 64 rows × 128 outputs, weights and inputs staged in workgroup memory: for graphics cards.
    #[default]
    WorkgroupMemory,
    /// 32 rows × 64 outputs, each lane with its operands in registers: for software adapters, which
    /// run shaders on the CPU.
    Registers,
    /// [`MatmulTiling::Registers`], four lanes sharing the loads of inputs; needs subgroups.
    RegistersBroadcast4,
    /// [`MatmulTiling::Registers`], eight lanes sharing the loads of inputs; needs subgroups of at
    /// least eight.
    RegistersBroadcast8,
}

impl MatmulTiling {
    /// All tilings.
    pub const ALL: [MatmulTiling; 4] = [
        MatmulTiling::WorkgroupMemory,
        MatmulTiling::Registers,
        MatmulTiling::RegistersBroadcast4,
        MatmulTiling::RegistersBroadcast8,
    ];

    /// Name in options, reports and environment variables, in snake case.
    pub const fn name(self) -> &'static str {
        match self {
            MatmulTiling::WorkgroupMemory => "workgroup_memory",
            MatmulTiling::Registers => "registers",
            MatmulTiling::RegistersBroadcast4 => "registers_broadcast4",
            MatmulTiling::RegistersBroadcast8 => "registers_broadcast8",
        }
    }

    /// The tiling of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tiling| tiling.name() == name)
    }

    /// The feature that the tiling requires, if it is not among `features`, by its name in an
    /// adapter's report.
    pub fn missing_feature(self, features: &[String]) -> Option<&'static str> {
        let needed = match self {
            MatmulTiling::WorkgroupMemory | MatmulTiling::Registers => return None,
            MatmulTiling::RegistersBroadcast4 => "subgroups",
            MatmulTiling::RegistersBroadcast8 => "subgroups-of-8",
        };
        features.iter().all(|feature| feature != needed).then_some(needed)
    }

    /// True if lanes share loads. Those of attention and of the SSM scan then do so as well.
    pub(super) fn broadcasts_loads(self) -> bool {
        match self {
            MatmulTiling::WorkgroupMemory | MatmulTiling::Registers => false,
            MatmulTiling::RegistersBroadcast4 | MatmulTiling::RegistersBroadcast8 => true,
        }
    }

    pub(super) fn imports(self) -> Vec<Import> {
        let loads = match self {
            MatmulTiling::WorkgroupMemory => return vec![("tiling", "tilings/workgroup_memory")],
            MatmulTiling::Registers => "loads/inputs_per_lane",
            MatmulTiling::RegistersBroadcast4 => "loads/inputs_broadcast4",
            MatmulTiling::RegistersBroadcast8 => "loads/inputs_broadcast8",
        };
        vec![("tiling", "tilings/registers"), ("loads", loads)]
    }

    /// Rows and outputs of a workgroup.
    pub(super) fn size(self) -> [u32; 2] {
        match self {
            MatmulTiling::WorkgroupMemory => [64, 128],
            MatmulTiling::Registers
            | MatmulTiling::RegistersBroadcast4
            | MatmulTiling::RegistersBroadcast8 => [32, 64],
        }
    }
}
