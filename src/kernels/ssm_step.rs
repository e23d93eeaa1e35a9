//! A step of one row through a Mamba-2 mixer, from its input projection to its gate, in one kernel.

use super::norms::weight_and_sum;
use super::ssm::{ScanBuffers, ScanShape, convolve, padded, scan_row};
use super::{Activation, Binding, Buffer, CpuMemory, Import, KernelRules, Step};

/// Convolution, recurrence and gate for a step of one row; see [`ScanShape`] and [`ScanBuffers`].
#[derive(Debug, Clone)]
pub struct SsmStep {
    /// `[z | x | B | C | dt]`, one row.
    pub projected: Activation,
    /// Weights and state of the mixer.
    pub buffers: ScanBuffers,
    /// `[1, inner]`.
    pub y: Activation,
    /// Weight of the norm that follows, if its first half is fused ([`super::PartialNorm`]): `y` is
    /// multiplied by it, and the sums of squares of the heads follow the columns.
    pub weight: Option<Buffer>,
    /// Sizes of the mixer.
    pub shape: ScanShape,
}

impl KernelRules for SsmStep {
    const NAME: &'static str = "ssm_step";
    const SHADER: &'static str = include_wgsl!("../../shaders/ssm_step.wgsl");

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
        let file = match self.weight {
            Some(_) => "epilogues/head_partial_norm",
            None => "epilogues/head_store",
        };
        vec![("epilogue", file)]
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        let mut constants = self.shape.constants();
        constants.extend([
            ("STATE_SIZE", self.shape.state_size.into()),
            ("KERNEL", self.shape.conv_kernel.into()),
        ]);
        constants.extend(self.shape.gate_constants());
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
        if step.rows == 0 {
            return;
        }
        let (shape, inner) = (self.shape, self.shape.inner() as usize);
        let channels = shape.channels() as usize;
        memory.update(self.buffers.ring, |memory, ring| {
            let inputs = &memory.row(&self.projected, 0)[inner..][..channels];
            ring[shape.ring_slot(step.position)..][..channels].copy_from_slice(inputs);
        });
        let ring = memory.read(self.buffers.ring);
        let slot = |back| shape.ring_slot(step.position + shape.conv_kernel - back);
        let inputs = (0..shape.conv_kernel).map(|back| &ring[slot(back)..][..channels]);
        let inputs: Vec<_> = inputs.collect();
        let convolved = convolve(shape, memory.read(self.buffers.conv), &inputs);
        let convolved = padded(shape, &convolved);
        memory.update(self.y.buffer, |memory, y| {
            memory.update(self.buffers.state, |memory, state| {
                let projected = memory.row(&self.projected, 0);
                let scalars = memory.read(self.buffers.scalars);
                scan_row(shape, projected, &convolved, scalars, state, y);
            });
            if let Some(weight) = self.weight {
                let row = y[..inner].to_vec();
                weight_and_sum(&row, memory.read(weight), shape.head_dim as usize, y);
            }
        });
    }
}
