//! The causal convolution of a Mamba-2 mixer over many rows.

use super::ssm::{ScanBuffers, ScanShape, convolve, padded};
use super::{Activation, Binding, CpuMemory, KernelRules, Step};

/// `y[row, channel] = silu(bias + Σ_k weight[k] · x[row - conv_kernel + 1 + k])` for x, B and C;
/// inputs before the step's first row come from the ring, which then takes the step's last rows.
#[derive(Debug, Clone)]
pub struct SsmConv {
    /// `[rows, z | x | B | C | dt]`.
    pub projected: Activation,
    /// Weights and state of the mixer.
    pub buffers: ScanBuffers,
    /// `[rows, x | B | C]`, heads and groups padded with zeros to whole tiles.
    pub y: Activation,
    /// Sizes of the mixer.
    pub shape: ScanShape,
}

impl SsmConv {
    /// Rows of a workgroup.
    const ROWS: u32 = 16;
}

impl KernelRules for SsmConv {
    const NAME: &'static str = "ssm_conv";
    const SHADER: &'static str = include_wgsl!("../../shaders/ssm_conv.wgsl");

    fn bindings(&self) -> Vec<Binding> {
        vec![
            Binding::read(self.projected.buffer),
            Binding::read(self.buffers.conv),
            Binding::write(self.buffers.ring),
            Binding::write(self.y.buffer),
        ]
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        let mut constants = self.shape.constants();
        constants.extend([
            ("STATE_SIZE", self.shape.state_size.into()),
            ("KERNEL", self.shape.conv_kernel.into()),
            ("X_STRIDE", self.projected.stride.into()),
            ("Y_STRIDE", self.y.stride.into()),
        ]);
        constants
    }

    fn workgroups(&self, step: Step) -> [u32; 3] {
        [self.y.width.div_ceil(64), step.rows.div_ceil(Self::ROWS), 1]
    }

    fn reference(&self, memory: &mut CpuMemory, step: Step) {
        let (kernel, channels) = (self.shape.conv_kernel, self.shape.channels() as usize);
        let inner = self.shape.inner() as usize;
        memory.write_rows(&self.y, step, |memory, row, y| {
            let ring = memory.read(self.buffers.ring);
            let slot = |position| &ring[self.shape.ring_slot(position)..][..channels];
            let input = |back: u32| match row.checked_sub(back) {
                Some(row) => &memory.row(&self.projected, row)[inner..][..channels],
                None => slot(step.position + row + kernel - back),
            };
            let inputs: Vec<_> = (0..kernel).map(input).collect();
            let convolved = convolve(self.shape, memory.read(self.buffers.conv), &inputs);
            y.copy_from_slice(&padded(self.shape, &convolved));
        });
        memory.update(self.buffers.ring, |memory, ring| {
            for row in step.rows.saturating_sub(kernel)..step.rows {
                let inputs = &memory.row(&self.projected, row)[inner..][..channels];
                let slot = self.shape.ring_slot(step.position + row);
                ring[slot..][..channels].copy_from_slice(inputs);
            }
        });
    }
}
