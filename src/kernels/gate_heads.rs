//! Gates of attention heads: a number for each head of a row.

use super::{Activation, Binding, CpuMemory, KernelRules, Step};

/// `y = σ(gate of the head) · x`.
#[derive(Debug, Clone)]
pub struct GateHeads {
    /// Heads, `[rows, heads * head_dim]`.
    pub x: Activation,
    /// Gates before the logistic function, `[rows, heads]`.
    pub gates: Activation,
    /// Outputs, `[rows, heads * head_dim]`.
    pub y: Activation,
}

impl GateHeads {
    /// Elements of a head.
    pub(crate) fn head_dim(&self) -> u32 {
        self.x.width / self.gates.width
    }
}

/// `1 / (1 + e^-x)`.
pub(crate) fn logistic(x: f32) -> f64 {
    1.0 / (1.0 + (-f64::from(x)).exp())
}

impl KernelRules for GateHeads {
    const NAME: &'static str = "gate_heads";
    const SHADER: &'static str = include_wgsl!("../../shaders/gate_heads.wgsl");

    fn bindings(&self) -> Vec<Binding> {
        vec![
            Binding::read(self.x.buffer),
            Binding::read(self.gates.buffer),
            Binding::write(self.y.buffer),
        ]
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        let mut constants = self.y.constants().to_vec();
        constants.extend([
            ("X_STRIDE", self.x.stride.into()),
            ("GATES_STRIDE", self.gates.stride.into()),
            ("HEAD_DIM", self.head_dim().into()),
        ]);
        constants
    }

    fn workgroups(&self, step: Step) -> [u32; 3] {
        self.y.workgroups(step)
    }

    fn reference(&self, memory: &mut CpuMemory, step: Step) {
        let head_dim = self.head_dim() as usize;
        memory.write_rows(&self.y, step, |memory, row, y| {
            let heads = memory.row(&self.x, row).chunks_exact(head_dim);
            let heads = heads.zip(memory.row(&self.gates, row));
            for (y, (x, gate)) in y.chunks_exact_mut(head_dim).zip(heads) {
                let gate = logistic(*gate);
                y.iter_mut().zip(x).for_each(|(y, x)| *y = (gate * f64::from(*x)) as f32);
            }
        });
    }
}
