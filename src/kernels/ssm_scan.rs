//! The scan of a Mamba-2 mixer over many rows: in matrix form in the shader, row by row in the CPU
//! reference.

use super::ssm::{ScanBuffers, ScanShape, scan_row};
use super::{Activation, Binding, CpuMemory, Import, KernelRules, MatmulTiling, Step};

/// Recurrence, skip and gate for many rows; see [`ScanShape`] and [`ScanBuffers`].
#[derive(Debug, Clone)]
pub struct SsmScan {
    /// `[rows, z | x | B | C | dt]`, of which z and dt are used.
    pub projected: Activation,
    /// `[rows, x | B | C]` as [`super::SsmConv`] writes it.
    pub x: Activation,
    /// Products C·Bᵀ that [`super::SsmScores`] writes, which only the shader reads.
    pub scores: Activation,
    /// Weights and state of the mixer.
    pub buffers: ScanBuffers,
    /// `[rows, inner]`.
    pub y: Activation,
    /// Sizes of the mixer.
    pub shape: ScanShape,
    /// Matmul tiling in use. If its lanes share loads (`quadBroadcast`), those of the scan do too.
    pub tiling: MatmulTiling,
}

impl KernelRules for SsmScan {
    const NAME: &'static str = "ssm_scan";
    const SHADER: &'static str = include_wgsl!("../../shaders/ssm_scan.wgsl");

    fn bindings(&self) -> Vec<Binding> {
        vec![
            Binding::read(self.projected.buffer),
            Binding::read(self.x.buffer),
            Binding::read(self.scores.buffer),
            Binding::read(self.buffers.scalars),
            Binding::write(self.buffers.state),
            Binding::write(self.y.buffer),
        ]
    }

    fn use_tiling(&mut self, tiling: MatmulTiling) {
        self.tiling = tiling;
    }

    fn imports(&self) -> Vec<Import> {
        let loads = match self.tiling.broadcasts_loads() {
            true => "loads/rows_broadcast4",
            false => "loads/rows_per_lane",
        };
        vec![("loads", loads)]
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        let mut constants = self.shape.constants();
        constants.extend([
            ("FIRST_DT", (self.shape.inner() + self.shape.channels()).into()),
            ("PROJECTED_STRIDE", self.projected.stride.into()),
            ("X_STRIDE", self.x.stride.into()),
            ("SCORES_STRIDE", self.scores.stride.into()),
            ("Y_STRIDE", self.y.stride.into()),
        ]);
        constants.extend(self.shape.gate_constants());
        constants
    }

    fn workgroups(&self, _step: Step) -> [u32; 3] {
        [self.shape.head_stride().div_ceil(32), self.shape.head_count, 1]
    }

    fn operations(&self, step: Step) -> u64 {
        self.shape.operations(step)
    }

    fn reference(&self, memory: &mut CpuMemory, step: Step) {
        memory.update(self.y.buffer, |memory, y| {
            memory.update(self.buffers.state, |memory, state| {
                let scalars = memory.read(self.buffers.scalars);
                for row in 0..step.rows {
                    let projected = memory.row(&self.projected, row);
                    let x = memory.row(&self.x, row);
                    let y = &mut y[self.y.start(row)..];
                    scan_row(self.shape, projected, x, scalars, state, y);
                }
            });
        });
    }
}
