//! The scan of a Mamba-2 mixer over the rows of a chunk: on the GPU in matrix form, here from row
//! to row.

use super::ssm::{ScanBuffers, ScanBy, ScanRow, ScanShape, scan_rows};
use super::{Activation, Binding, CpuMemory, Import, KernelRules, Step, Tile};

/// Recurrence, skip and gate for many rows; see [`ScanShape`] and [`ScanBuffers`].
#[derive(Debug, Clone)]
pub struct SsmScan {
    /// `[rows, z | x | B | C | dt]`, of which z and dt are used.
    pub projected: Activation,
    /// `[rows, x | B | C]` as [`super::SsmConv`] writes it.
    pub x: Activation,
    /// What [`super::SsmScores`] writes: the shader's shortcut, without a meaning of its own.
    pub scores: Activation,
    /// Weights and state.
    pub buffers: ScanBuffers,
    /// `[rows, inner]`.
    pub y: Activation,
    /// Sizes.
    pub shape: ScanShape,
    /// Where its lanes load for each other, so do these: what they want of the same rows.
    pub tile: Tile,
}

impl KernelRules for SsmScan {
    const NAME: &'static str = "ssm_scan";
    const SHADER: &'static str = include_str!("../../shaders/ssm_scan.wgsl");

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

    fn imports(&self) -> Vec<Import> {
        vec![(
            "shares",
            if self.tile.shares_loads() { "subgroups/shared_rows" } else { "variants/own_rows" },
        )]
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
        constants
    }

    fn workgroups(&self, _step: Step) -> [u32; 3] {
        [self.shape.head_stride().div_ceil(32), self.shape.head_count, 1]
    }

    fn operations(&self, step: Step) -> u64 {
        self.shape.operations(step)
    }

    fn reference(&self, memory: &mut CpuMemory, step: Step) {
        self.run(memory, step, &scan_rows);
    }
}

impl SsmScan {
    /// What it means, its recurrence by that function.
    pub(crate) fn run(&self, memory: &mut CpuMemory, step: Step, scan: ScanBy<'_>) {
        let [_, first_b, first_c, end] = self.shape.convolved().map(|column| column as usize);
        memory.update(self.y.buffer, |memory, y| {
            memory.update(self.buffers.state, |memory, state| {
                let scan_row = |row| {
                    let (projected, x) =
                        (memory.row(&self.projected, row), memory.row(&self.x, row));
                    ScanRow { projected, x, b: &x[first_b..first_c], c: &x[first_c..end] }
                };
                let rows: Vec<_> = (0..step.rows).map(scan_row).collect();
                let (y, stride) = (&mut y[..self.y.start(step.rows)], self.y.stride as usize);
                scan(self.shape, &rows, memory.read(self.buffers.scalars), state, y, stride);
            });
        });
    }
}
