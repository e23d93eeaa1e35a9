//! The gated short convolution of LFM2 (Liquid AI 2025), over one row or many.

use super::{Activation, Binding, Buffer, CpuMemory, KernelRules, Step};

/// `w = B · u`, `y[row] = C[row] · Σ_k weights[k] · w[row - kernel + 1 + k]`, column by column.
/// Products `w` before the step's first row come from the ring, which then takes the step's last
/// ones.
#[derive(Debug, Clone)]
pub struct ShortConv {
    /// `[rows, B | C | u]`, each as wide as `y`.
    pub projected: Activation,
    /// `[width, kernel]`.
    pub weights: Buffer,
    /// Last products `w`, `[kernel - 1, width]`, each at its position modulo `kernel - 1`.
    pub ring: Buffer,
    /// `[rows, width]`.
    pub y: Activation,
    /// Rows that the convolution sees, the current one included: 2 to [`ShortConv::MAX_KERNEL`].
    pub kernel: u32,
}

impl ShortConv {
    /// Largest `kernel`.
    pub const MAX_KERNEL: u32 = 8;
    /// Rows of a workgroup.
    const ROWS: u32 = 16;

    /// Words of [`ShortConv::ring`].
    pub fn ring_words(width: u32, kernel: u32) -> u64 {
        u64::from(kernel - 1) * u64::from(width)
    }

    /// Index in [`ShortConv::ring`] of the first word of a position's products.
    pub(crate) fn slot(&self, position: u32) -> usize {
        (position % (self.kernel - 1)) as usize * self.y.width as usize
    }

    /// Index in [`ShortConv::ring`] of the products `back` rows before row `row` of the step.
    pub(crate) fn slot_before(&self, step: Step, row: u32, back: u32) -> usize {
        self.slot(step.position + row + self.kernel - 1 - back)
    }

    /// B, C and u of a row.
    pub(crate) fn inputs<'a>(&self, memory: &'a CpuMemory, row: u32) -> [&'a [f32]; 3] {
        let width = self.y.width as usize;
        let row = memory.row(&self.projected, row);
        [0, 1, 2].map(|part| &row[part * width..][..width])
    }

    /// Writes the products of the step's last rows to the ring.
    pub(crate) fn store_products(&self, memory: &mut CpuMemory, step: Step) {
        memory.update(self.ring, |memory, ring| {
            for row in step.rows.saturating_sub(self.kernel - 1)..step.rows {
                let [b, _, u] = self.inputs(memory, row);
                let ring = &mut ring[self.slot(step.position + row)..];
                ring.iter_mut().zip(b).zip(u).for_each(|((w, b), u)| *w = b * u);
            }
        });
    }
}

impl KernelRules for ShortConv {
    const NAME: &'static str = "short_conv";
    const SHADER: &'static str = include_wgsl!("../../shaders/short_conv.wgsl");

    fn bindings(&self) -> Vec<Binding> {
        vec![
            Binding::read(self.projected.buffer),
            Binding::read(self.weights),
            Binding::write(self.ring),
            Binding::write(self.y.buffer),
        ]
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        vec![
            ("WIDTH", self.y.width.into()),
            ("KERNEL", self.kernel.into()),
            ("X_STRIDE", self.projected.stride.into()),
            ("Y_STRIDE", self.y.stride.into()),
        ]
    }

    fn workgroups(&self, step: Step) -> [u32; 3] {
        [self.y.width.div_ceil(64), step.rows.div_ceil(Self::ROWS), 1]
    }

    fn reference(&self, memory: &mut CpuMemory, step: Step) {
        let kernel = self.kernel as usize;
        memory.write_rows(&self.y, step, |memory, row, y| {
            let (weights, ring) = (memory.read(self.weights), memory.read(self.ring));
            let [_, c, _] = self.inputs(memory, row);
            for (column, y) in y.iter_mut().enumerate() {
                let product = |back: usize| match row.checked_sub(back as u32) {
                    Some(row) => {
                        let [b, _, u] = self.inputs(memory, row);
                        b[column] * u[column]
                    }
                    None => ring[self.slot_before(step, row, back as u32) + column],
                };
                let weights = &weights[column * kernel..][..kernel];
                let terms = weights.iter().rev().enumerate();
                let sum: f64 =
                    terms.map(|(back, weight)| f64::from(*weight) * f64::from(product(back))).sum();
                *y = (f64::from(c[column]) * sum) as f32;
            }
        });
        self.store_products(memory, step);
    }
}
