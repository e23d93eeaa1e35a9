//! The causal convolution of a Mamba-2 mixer over the rows of a chunk.

use super::ssm::{ScanBuffers, ScanShape, convolve};
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

    /// The channel that a column of `y` holds, if it is not padding.
    fn channel(&self, column: u32) -> Option<usize> {
        let shape = self.shape;
        let heads_end = shape.convolved()[1];
        let (first, column, size, stride) = if column < heads_end {
            (0, column, shape.head_dim, shape.head_stride())
        } else {
            (shape.inner(), column - heads_end, shape.state_size, shape.state_stride())
        };
        (column % stride < size).then(|| (first + column / stride * size + column % stride) as usize)
    }
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
        let (kernel, channels) = (self.shape.conv_kernel, self.shape.channels() as usize);
        let first = self.shape.inner() as usize;
        let slot = |position: u32| (position % kernel) as usize * channels;
        memory.update(self.y.buffer, |memory, y| {
            let (conv, ring) = (memory.read(self.buffers.conv), memory.read(self.buffers.ring));
            for row in 0..step.rows {
                let input = |back: usize, channel: usize| match row.checked_sub(back as u32) {
                    Some(row) => memory.row(&self.projected, row)[first + channel],
                    None => ring[slot(step.position + row + kernel - back as u32) + channel],
                };
                for (column, y) in y[self.y.start(row)..][..self.y.width as usize].iter_mut().enumerate() {
                    let channel = self.channel(column as u32);
                    *y = channel.map_or(0.0, |channel| {
                        convolve(self.shape, conv, channel, |back| input(back, channel))
                    });
                }
            }
        });
        memory.update(self.buffers.ring, |memory, ring| {
            for row in step.rows.saturating_sub(kernel)..step.rows {
                let inputs = &memory.row(&self.projected, row)[first..][..channels];
                ring[slot(step.position + row)..][..channels].copy_from_slice(inputs);
            }
        });
    }
}
