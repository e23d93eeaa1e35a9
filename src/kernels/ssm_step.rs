//! One token through a Mamba-2 mixer, from its input projection to its gate, in one kernel.

use super::epilogue::weight_and_sum;
use super::ssm::{ConvolveBy, ScanBuffers, ScanBy, ScanRow, ScanShape, convolve, scan_rows};
use super::{Activation, Binding, Buffer, CpuMemory, Import, KernelRules, Step};

/// Convolution, recurrence and gate for a step of one row; see [`ScanShape`] and [`ScanBuffers`].
#[derive(Debug, Clone)]
pub struct SsmStep {
    /// `[z | x | B | C | dt]`, one row.
    pub projected: Activation,
    /// Weights and state.
    pub buffers: ScanBuffers,
    /// `[1, inner]`.
    pub y: Activation,
    /// The weights of a norm that leaves its scale to others: `y` is multiplied by them, and behind
    /// its columns is the sum of squares of each head, see [`Activation::with_sums`].
    pub weight: Option<Buffer>,
    /// Sizes.
    pub shape: ScanShape,
}

impl KernelRules for SsmStep {
    const NAME: &'static str = "ssm_step";
    const SHADER: &'static str = include_str!("../../shaders/ssm_step.wgsl");

    fn bindings(&self) -> Vec<Binding> {
        let mut bindings = vec![
            Binding::read(self.projected.buffer),
            Binding::read(self.buffers.conv),
            Binding::read(self.buffers.scalars),
            Binding::write(self.buffers.ring),
            Binding::write(self.buffers.state),
            Binding::write(self.y.buffer),
        ];
        bindings.extend(self.weight.map(Binding::read));
        bindings
    }

    fn imports(&self) -> Vec<Import> {
        let file =
            if self.weight.is_some() { "epilogues/head_squares" } else { "epilogues/head_store" };
        vec![("epilogue", file)]
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        let mut constants = self.shape.constants();
        constants.extend([
            ("STATE_SIZE", self.shape.state_size.into()),
            ("KERNEL", self.shape.conv_kernel.into()),
        ]);
        if self.weight.is_some() {
            constants
                .extend([("Y_STRIDE", self.y.stride.into()), ("SQUARES", self.y.sums().into())]);
        }
        constants
    }

    fn workgroups(&self, _step: Step) -> [u32; 3] {
        [self.shape.head_count, 1, 1]
    }

    fn operations(&self, step: Step) -> u64 {
        self.shape.operations(step)
    }

    fn reference(&self, memory: &mut CpuMemory, step: Step) {
        self.run(memory, step, &convolve, &scan_rows);
    }
}

impl SsmStep {
    /// What it means, its convolution and its recurrence by those functions.
    pub(crate) fn run(
        &self,
        memory: &mut CpuMemory,
        step: Step,
        convolve: ConvolveBy<'_>,
        scan: ScanBy<'_>,
    ) {
        if step.rows == 0 {
            return;
        }
        let shape = self.shape;
        let (inner, channels) = (shape.inner() as usize, shape.channels() as usize);
        let kernel = shape.conv_kernel as usize;
        let slot = |back: usize| (step.position as usize + kernel - back) % kernel * channels;
        memory.update(self.buffers.ring, |memory, ring| {
            let projected = memory.row(&self.projected, 0);
            ring[slot(0)..][..channels].copy_from_slice(&projected[inner..][..channels]);
        });
        let (conv, ring) = (memory.read(self.buffers.conv), memory.read(self.buffers.ring));
        let inputs: Vec<_> = (0..kernel).map(|back| &ring[slot(back)..][..channels]).collect();
        let mut convolved = vec![0.0; channels];
        convolve(shape, conv, &inputs, &mut convolved);
        let part = |first: usize, count: u32, size: u32, stride: u32| {
            let mut padded = vec![0.0; (count * stride) as usize];
            for (i, row) in padded.chunks_exact_mut(stride as usize).enumerate() {
                let size = size as usize;
                row[..size].copy_from_slice(&convolved[first + i * size..][..size]);
            }
            padded
        };
        let x = part(0, shape.head_count, shape.head_dim, shape.head_stride());
        let (groups, size) = (shape.group_count, shape.state_size);
        let b = part(inner, groups, size, shape.state_stride());
        let c = part(inner + (groups * size) as usize, groups, size, shape.state_stride());
        memory.update(self.y.buffer, |memory, y| {
            memory.update(self.buffers.state, |memory, state| {
                let projected = memory.row(&self.projected, 0);
                let row = ScanRow { projected, x: &x, b: &b, c: &c };
                scan(
                    shape,
                    &[row],
                    memory.read(self.buffers.scalars),
                    state,
                    y,
                    self.y.stride as usize,
                );
                if let Some(weight) = self.weight {
                    let row = y[..inner].to_vec();
                    weight_and_sum(&row, memory.read(weight), shape.head_dim as usize, y);
                }
            });
        });
    }
}
