//! Fusion: a plan with fewer kernels that means the same.
//!
//! Runs of kernels around a matrix product of few rows become one: what made its inputs is left to
//! its [`Prologue`], what is made of its outputs to its [`Epilogue`]. Each rule is a pass over the
//! kernels; what no rule matches stays as it is.

use std::collections::{BTreeMap, BTreeSet};

use super::Plan;
use crate::kernels::{
    Activation, Add, Buffer, Elementwise, Epilogue, GatedActivation, Kernel, Matvec, Prologue, RmsNorm,
};

/// The plan with kernels fused.
pub fn fuse(plan: Plan) -> Plan {
    let mut fusion = Fusion { plan, readers: BTreeMap::new(), writers: BTreeMap::new() };
    for rule in [Fusion::function, Fusion::gate, Fusion::residual, Fusion::norm] {
        fusion.note_uses();
        let count = fusion.plan.kernels.len();
        let gone: BTreeSet<usize> =
            (0..count).filter_map(|index| rule(&mut fusion, index)).flatten().collect();
        let mut index = 0..;
        fusion.plan.kernels.retain(|_| index.next().is_some_and(|index| !gone.contains(&index)));
    }
    fusion.plan
}

/// A plan, and the indices of the kernels that use each buffer.
struct Fusion {
    plan: Plan,
    readers: BTreeMap<Buffer, Vec<usize>>,
    writers: BTreeMap<Buffer, Vec<usize>>,
}

/// A rule looks at the kernel of an index, and gives the indices of those that others do now.
impl Fusion {
    /// `f(weights · x)`.
    fn function(&mut self, index: usize) -> Option<Vec<usize>> {
        let Kernel::Elementwise(Elementwise { x, y, function }) = *self.kernel(index) else { return None };
        for product in self.products_only_for(index, x.buffer)? {
            self.become_of(product, Epilogue::Function(function), y);
        }
        Some(vec![index])
    }

    /// `f(gate · x) · (up · x)`, where the two matrices are stacked.
    fn gate(&mut self, index: usize) -> Option<Vec<usize>> {
        let Kernel::GatedActivation(GatedActivation { gate, up, y, function }) = *self.kernel(index) else {
            return None;
        };
        let (gates, ups) =
            (self.products_only_for(index, gate.buffer)?, self.products_only_for(index, up.buffer)?);
        let (&[gate], &[up]) = (&gates[..], &ups[..]) else { return None };
        let (below, product) = (self.matvec(up)?.product.clone(), &mut self.matvec(gate)?.product);
        let end = product.matrix.above + product.matrix.rows;
        let is_stacked = (product.matrix.matrix, product.x, product.matrix.rows, end)
            == (below.matrix.matrix, below.x, below.matrix.rows, below.matrix.above);
        if !is_stacked || !product.matrix.rows.is_multiple_of(2) {
            return None;
        }
        product.matrix.rows *= 2;
        self.become_of(gate, Epilogue::Gate(function), y);
        Some(vec![up, index])
    }

    /// `residual + weights · x`.
    fn residual(&mut self, index: usize) -> Option<Vec<usize>> {
        let Kernel::Add(Add { a, b, b_stride, y }) = *self.kernel(index) else { return None };
        if b_stride == 0 {
            return None;
        }
        let b = Activation { buffer: b, ..a };
        let (residual, products) = [(a, b), (b, a)].into_iter().find_map(|(residual, product)| {
            let products = self.products_only_for(index, product.buffer)?;
            let writers = self.writers.get(&residual.buffer).into_iter().flatten();
            let is_there = writers.into_iter().all(|writer| *writer < products[0]);
            is_there.then_some((residual, products))
        })?;
        for product in products {
            self.become_of(product, Epilogue::Add { residual }, y);
        }
        Some(vec![index])
    }

    /// A norm between a residual and products.
    fn norm(&mut self, index: usize) -> Option<Vec<usize>> {
        let Kernel::RmsNorm(RmsNorm { x, weight, y, parts, same_weights, epsilon }) = *self.kernel(index)
        else {
            return None;
        };
        let readers = self.readers.get(&y.buffer)?.clone();
        let are_inputs = readers.iter().all(|reader| {
            let matvec = self.matvec(*reader).filter(|matvec| matvec.prologue == Prologue::Plain);
            matvec.is_some_and(|matvec| matvec.product.x == y)
        });
        let &[writer] = &self.writers.get(&x.buffer)?[..] else { return None };
        if !are_inputs || same_weights || !Prologue::can_norm(x.width, parts) {
            return None;
        }
        let buffer = Buffer::Scratch(self.plan.scratch.len() as u16);
        let sums = match &mut self.plan.kernels[writer].kernel {
            Kernel::Matvec(matvec) if parts == 1 && matvec.product.matrix.rows == x.width => {
                let Epilogue::Add { residual } = matvec.epilogue else { return None };
                let sums = matvec.workgroups_of_a_row();
                let weighted = x.with_sums(buffer, sums);
                matvec.epilogue = Epilogue::AddSquares { residual, weight, weighted };
                sums
            }
            _ => return None,
        };
        let weighted = x.with_sums(buffer, sums);
        self.plan.scratch.push(weighted);
        for reader in readers {
            let matvec = self.matvec(reader)?;
            matvec.product.x = weighted;
            matvec.prologue = Prologue::Rms { parts, sums, epsilon };
        }
        Some(vec![index])
    }

    fn kernel(&self, index: usize) -> &Kernel {
        &self.plan.kernels[index].kernel
    }

    fn matvec(&mut self, index: usize) -> Option<&mut Matvec> {
        match &mut self.plan.kernels.get_mut(index)?.kernel {
            Kernel::Matvec(matvec) => Some(matvec),
            _ => None,
        }
    }

    /// The products that write a buffer which nothing else does and only that kernel reads.
    fn products_only_for(&mut self, reader: usize, buffer: Buffer) -> Option<Vec<usize>> {
        if self.readers.get(&buffer)? != &[reader] {
            return None;
        }
        let writers = self.writers.get(&buffer)?.clone();
        let mut stored = writers.iter().map(|writer| Some(self.matvec(*writer)?.epilogue == Epilogue::Store));
        stored.all(|stored| stored == Some(true)).then_some(writers)
    }

    fn become_of(&mut self, product: usize, epilogue: Epilogue, y: Activation) {
        if let Some(matvec) = self.matvec(product) {
            (matvec.epilogue, matvec.product.y) = (epilogue, y);
        }
    }

    fn note_uses(&mut self) {
        (self.readers, self.writers) = Default::default();
        for (index, planned) in self.plan.kernels.iter().enumerate() {
            for binding in planned.kernel.bindings() {
                let uses = if binding.write { &mut self.writers } else { &mut self.readers };
                uses.entry(binding.buffer).or_default().push(index);
            }
        }
        // Whoever runs the plan reads the logits.
        self.readers.entry(self.plan.logits.buffer).or_default().push(usize::MAX);
    }
}
