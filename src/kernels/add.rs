//! Addition of a residual, of a bias, or of a vector for each position, row by row.

use super::{Activation, Binding, Buffer, CpuMemory, KernelRules, Step};

/// `y = a + b`.
#[derive(Debug, Clone)]
pub struct Add {
    /// First addend, `[rows, width]`.
    pub a: Activation,
    /// Second addend, `[rows, b_stride]`, or `[width]` for a bias.
    pub b: Buffer,
    /// Words from row to row of `b`; 0 for a bias, which is added to every row.
    pub b_stride: u32,
    /// Sums, `[rows, width]`.
    pub y: Activation,
}

impl KernelRules for Add {
    const NAME: &'static str = "add";
    const SHADER: &'static str = include_wgsl!("../../shaders/add.wgsl");

    fn bindings(&self) -> Vec<Binding> {
        vec![Binding::read(self.a.buffer), Binding::read(self.b), Binding::write(self.y.buffer)]
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        let b_stride = [("B_STRIDE", self.b_stride.into())];
        self.y.constants().into_iter().chain(b_stride).collect()
    }

    fn workgroups(&self, step: Step) -> [u32; 3] {
        self.y.workgroups(step)
    }

    fn reference(&self, memory: &mut CpuMemory, step: Step) {
        memory.write_rows(&self.y, step, |memory, row, y| {
            let b = &memory.read(self.b)[(row * self.b_stride) as usize..];
            for ((y, a), b) in y.iter_mut().zip(memory.row(&self.a, row)).zip(b) {
                *y = a + b;
            }
        });
    }
}
