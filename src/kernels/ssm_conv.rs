//! The causal convolution of a Mamba-2 mixer over the rows of a chunk.

use super::ssm::{ConvolveBy, ScanBuffers, ScanShape, convolve};
use super::{Activation, Binding, CpuMemory, KernelRules, Step};

/// `y[row, channel] = silu(bias + Σ_k weight[k] · x[row - conv_kernel + 1 + k])` for x, B and C;
/// rows before the step's are in the ring, which then takes the step's last rows.
#[derive(Debug, Clone)]
pub struct SsmConv {
    /// `[rows, z | x | B | C | dt]`.
    pub projected: Activation,
    /// Weights and state.
    pub buffers: ScanBuffers,
    /// `[rows, x | B | C]`, heads and groups padded with zeros to whole tiles.
    pub y: Activation,
    /// Sizes.
    pub shape: ScanShape,
}

impl SsmConv {
    /// Rows of a workgroup, see the shader.
    const ROWS: u32 = 16;
}

impl KernelRules for SsmConv {
    const NAME: &'static str = "ssm_conv";
    const SHADER: &'static str = include_str!("../../shaders/ssm_conv.wgsl");

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
        memory
            .write_rows(&self.y, step, |memory, row, y| self.row(memory, step, row, &convolve, y));
        self.keep(memory, step);
    }
}

impl SsmConv {
    /// A row of what it means, convolved by that function.
    pub(crate) fn row(
        &self,
        memory: &CpuMemory,
        step: Step,
        row: u32,
        convolve: ConvolveBy<'_>,
        y: &mut [f32],
    ) {
        let (kernel, channels) = (self.shape.conv_kernel, self.shape.channels() as usize);
        let ring = memory.read(self.buffers.ring);
        let input = |back: u32| match row.checked_sub(back) {
            Some(row) => {
                &memory.row(&self.projected, row)[self.shape.inner() as usize..][..channels]
            }
            None => &ring[self.slot(step.position + row + kernel - back)..][..channels],
        };
        let inputs: Vec<_> = (0..kernel).map(input).collect();
        let mut convolved = vec![0.0; channels];
        convolve(self.shape, memory.read(self.buffers.conv), &inputs, &mut convolved);
        let ScanShape { head_dim, state_size, .. } = self.shape;
        let (heads, groups) =
            y[..self.y.width as usize].split_at_mut(self.shape.convolved()[1] as usize);
        let (x, b_and_c) = convolved.split_at(self.shape.inner() as usize);
        let parts = [
            (heads, x, head_dim, self.shape.head_stride()),
            (groups, b_and_c, state_size, self.shape.state_stride()),
        ];
        for (padded, values, size, stride) in parts {
            let padded = padded.chunks_exact_mut(stride as usize);
            for (padded, values) in padded.zip(values.chunks_exact(size as usize)) {
                padded[..values.len()].copy_from_slice(values);
                padded[values.len()..].fill(0.0);
            }
        }
    }

    /// Where the ring holds a position.
    fn slot(&self, position: u32) -> usize {
        (position % self.shape.conv_kernel) as usize * self.shape.channels() as usize
    }

    /// Keeps the step's last rows for the next.
    pub(crate) fn keep(&self, memory: &mut CpuMemory, step: Step) {
        let (first, channels) = (self.shape.inner() as usize, self.shape.channels() as usize);
        memory.update(self.buffers.ring, |memory, ring| {
            for row in step.rows.saturating_sub(self.shape.conv_kernel)..step.rows {
                let inputs = &memory.row(&self.projected, row)[first..][..channels];
                ring[self.slot(step.position + row)..][..channels].copy_from_slice(inputs);
            }
        });
    }
}
