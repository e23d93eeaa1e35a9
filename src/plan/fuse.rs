//! Fusion: rewrites a plan to fewer kernels with the same results.
//!
//! Kernels around a matrix product become a part of it: those that transform its outputs become its
//! [`Epilogue`](crate::kernels::Epilogue), and a norm of its inputs, if rows are few, becomes its
//! [`Prologue`]. Each rule is a pass over the kernels; kernels that no rule matches stay.

mod gates;

use std::collections::{BTreeMap, BTreeSet};

use super::{Plan, Resources};
use crate::kernels::{
    Activation, ActivationFunction, Add, Attention, Buffer, Cache, CacheStore, Elementwise, Glu,
    HeadNorm, Heads, Kernel, Matvec, Output, Pairing, PartialNorm, Projection, Prologue, RmsNorm,
    Rope, Rotation, Rows,
};

/// Storage buffers that a kernel can bind on every WebGPU adapter.
const MAX_STORAGE_BUFFERS: usize = 8;
/// Lanes that share loads by quad operations; workgroups must consist of whole such groups.
const BROADCAST_LANES: u32 = 4;

/// Returns the plan with kernels fused.
pub fn fuse(plan: Plan, resources: &mut Resources<'_>) -> Plan {
    let mut fusion = Fusion { plan, resources, readers: BTreeMap::new(), writers: BTreeMap::new() };
    for rule in [
        Fusion::bias,
        Fusion::scale,
        Fusion::function,
        Fusion::gate,
        Fusion::heads,
        Fusion::gates,
        Fusion::residual,
        Fusion::normed_residual,
        Fusion::norm,
    ] {
        fusion.note_uses();
        let count = fusion.plan.kernels.len();
        let removed: BTreeSet<usize> =
            (0..count).filter_map(|index| rule(&mut fusion, index)).flatten().collect();
        let mut index = 0..;
        fusion.plan.kernels.retain(|_| index.next().is_some_and(|index| !removed.contains(&index)));
    }
    fusion.plan
}

/// A product that computes heads, and the kernels between it and their reader.
struct HeadSource {
    /// Index of the product.
    product: usize,
    /// Norm of each head: its weight, `[head_dim]`, and its epsilon.
    norm: Option<(Buffer, f32)>,
    /// Rotation of each head.
    rotation: Option<Rotation>,
    /// Indices of the kernels between.
    between: Vec<usize>,
}

/// A plan, and the indices of the kernels that use each buffer.
struct Fusion<'a, 'b> {
    plan: Plan,
    resources: &'a mut Resources<'b>,
    readers: BTreeMap<Buffer, Vec<usize>>,
    writers: BTreeMap<Buffer, Vec<usize>>,
}

/// Rules: each looks at the kernel at an index and, if it fuses kernels, returns the indices of
/// those to remove.
impl Fusion<'_, '_> {
    /// `weights · x + bias`.
    fn bias(&mut self, index: usize) -> Option<Vec<usize>> {
        let Kernel::Add(Add { a, b, b_stride: 0, y }) = *self.kernel(index) else { return None };
        let &[product] = &self.products_only_for(index, a.buffer)?[..] else { return None };
        let product = self.product(product)?;
        (product.epilogue.bias, product.y) = (Some(b), y);
        Some(vec![index])
    }

    /// `scale · (weights · x)`, or scaled rows of the embedding.
    fn scale(&mut self, index: usize) -> Option<Vec<usize>> {
        let Kernel::Elementwise(Elementwise { x, y, function: ActivationFunction::Scale(scale) }) =
            *self.kernel(index)
        else {
            return None;
        };
        if let Some(products) = self.products_only_for(index, x.buffer) {
            for product in products {
                let product = self.product(product)?;
                product.epilogue.scale *= scale;
                product.y = y;
            }
            return Some(vec![index]);
        }
        let writers = self.writers_only_for(index, x.buffer)?;
        if !writers.iter().all(|writer| matches!(self.kernel(*writer), Kernel::Embed(_))) {
            return None;
        }
        for writer in writers {
            if let Kernel::Embed(embed) = &mut self.plan.kernels[writer].kernel {
                embed.scale *= scale;
                embed.y = y;
            }
        }
        Some(vec![index])
    }

    /// `f(weights · x)`.
    fn function(&mut self, index: usize) -> Option<Vec<usize>> {
        let Kernel::Elementwise(Elementwise { x, y, function }) = *self.kernel(index) else {
            return None;
        };
        for product in self.products_only_for(index, x.buffer)? {
            let product = self.product(product)?;
            (product.epilogue.function, product.y) = (Some(function), y);
        }
        Some(vec![index])
    }

    /// `f(gate · x) · (up · x)`, if the two matrices are stacked.
    fn gate(&mut self, index: usize) -> Option<Vec<usize>> {
        let Kernel::Glu(Glu { gate, up, y, function }) = *self.kernel(index) else { return None };
        let (gates, ups) = (
            self.products_only_for(index, gate.buffer)?,
            self.products_only_for(index, up.buffer)?,
        );
        let (&[gate], &[up]) = (&gates[..], &ups[..]) else { return None };
        let [rows, rows_of_up] = [self.product(gate)?.matrix.rows, self.product(up)?.matrix.rows];
        if !self.are_stacked(gate, up) || rows != rows_of_up || !rows.is_multiple_of(2) {
            return None;
        }
        let bias = self.joined_bias(&[gate, up])?;
        let product = self.product(gate)?;
        product.matrix.rows += rows;
        product.epilogue.bias = bias;
        product.epilogue.output = Output::Gated(function);
        product.y = y;
        Some(vec![up, index])
    }

    /// Queries, keys and values of an attention: normed, rotated and cached.
    fn heads(&mut self, index: usize) -> Option<Vec<usize>> {
        let Kernel::Attention(Attention { q, keys, values, shape, .. }) = *self.kernel(index)
        else {
            return None;
        };
        let sources = [
            self.head_source(index, q.buffer)?,
            self.cached_source(keys.buffer)?,
            self.cached_source(values.buffer)?,
        ];
        let rotation = self.common_rotation(&sources, shape.head_dim)?;
        let norm = self.common_norm(&sources, shape.head_dim)?;
        Heads::store_file(keys.rows.format)?;
        let products = sources.each_ref().map(|source| source.product);
        let mut removed: Vec<usize> =
            sources.into_iter().flat_map(|source| source.between).collect();
        let mut first = 0;
        while first < products.len() {
            let mut end = first + 1;
            while end < products.len() && self.are_stacked(products[end - 1], products[end]) {
                end += 1;
            }
            let mut rows = [0; 3];
            for part in first..end {
                rows[part] = self.product(products[part])?.matrix.rows;
            }
            let bias = self.joined_bias(&products[first..end])?;
            let mut bound = [q.buffer, keys.buffer, values.buffer];
            for (buffer, rows) in bound.iter_mut().zip(rows) {
                if rows == 0 {
                    *buffer = self.unused_buffer();
                }
            }
            let [q_buffer, key_buffer, value_buffer] = bound;
            let keys = Cache { buffer: key_buffer, ..keys };
            let values = Cache { buffer: value_buffer, ..values };
            let product = self.product(products[first])?;
            product.matrix.rows = rows.iter().sum();
            product.y = Activation { buffer: q_buffer, ..q };
            product.epilogue.bias = bias;
            product.epilogue.output = Output::Heads(Heads { rows, keys, values, norm, rotation });
            removed.extend(&products[first + 1..end]);
            first = end;
        }
        Some(removed)
    }

    /// `residual + weights · x`.
    fn residual(&mut self, index: usize) -> Option<Vec<usize>> {
        let Kernel::Add(Add { a, b, b_stride, y }) = *self.kernel(index) else { return None };
        if b_stride == 0 {
            return None;
        }
        let b = Activation { buffer: b, ..a };
        let (residual, products) =
            [(a, b), (b, a)].into_iter().find_map(|(residual, product)| {
                let products = self.products_only_for(index, product.buffer);
                let products =
                    products.or_else(|| self.functions_only_for(index, product.buffer))?;
                let is_there = self.is_written_before(residual.buffer, products[0]);
                is_there.then_some((residual, products))
            })?;
        for product in products {
            let product = self.product(product)?;
            product.epilogue.output = Output::Rows { residual: Some(residual), norm: None };
            product.y = y;
        }
        Some(vec![index])
    }

    /// `residual + norm(x)`.
    fn normed_residual(&mut self, index: usize) -> Option<Vec<usize>> {
        let Kernel::Add(Add { a, b, b_stride, y }) = *self.kernel(index) else { return None };
        if b_stride != a.stride {
            return None;
        }
        let b = Activation { buffer: b, ..a };
        [(a, b), (b, a)].into_iter().find_map(|(residual, normed)| {
            let &[writer] = &self.writers_only_for(index, normed.buffer)?[..] else { return None };
            if !self.is_written_before(residual.buffer, writer) {
                return None;
            }
            match &mut self.plan.kernels[writer].kernel {
                Kernel::RmsNorm(norm) if norm.y == normed && norm.residual.is_none() => {
                    (norm.residual, norm.y) = (Some(residual), y);
                    Some(vec![index])
                }
                _ => None,
            }
        })
    }

    /// Root-mean-square norm before products of few rows: the kernels that write its input compute
    /// the first half ([`PartialNorm`]), the products that read its result compute the second
    /// ([`Prologue::Rms`]).
    fn norm(&mut self, index: usize) -> Option<Vec<usize>> {
        let Kernel::RmsNorm(RmsNorm {
            x,
            weight,
            y,
            parts,
            weight_shared_by_heads,
            epsilon,
            residual: None,
            norm: None,
        }) = *self.kernel(index)
        else {
            return None;
        };
        let readers = self.readers.get(&y.buffer)?.clone();
        let are_inputs = readers.iter().all(|reader| {
            let matvec = self.matvec(*reader).filter(|matvec| matvec.prologue == Prologue::Plain);
            matvec.is_some_and(|matvec| matvec.product.x == y)
        });
        if !are_inputs || weight_shared_by_heads || !Prologue::can_norm(x.width, parts) {
            return None;
        }
        let buffer = Buffer::Scratch(self.resources.index(self.plan.scratch.len()));
        let sums = self.begin_norm(&x, weight, parts, buffer)?;
        let weighted = x.with_sums(buffer, sums);
        self.plan.scratch.push(weighted);
        for reader in readers {
            let matvec = self.matvec(reader)?;
            matvec.product.x = weighted;
            matvec.prologue = Prologue::Rms { parts, sums, epsilon };
        }
        Some(vec![index])
    }

    /// Makes the writers of `x` also write `x · weight` and partial sums of `x²` to `buffer`.
    /// Returns the number of partial sums of a row, or `None` if a writer cannot.
    fn begin_norm(
        &mut self,
        x: &Activation,
        weight: Buffer,
        parts: u32,
        buffer: Buffer,
    ) -> Option<u32> {
        let writers = self.writers.get(&x.buffer)?;
        let partial = |sums| PartialNorm { weight, row: x.with_sums(buffer, sums) };
        let [first, ..] = writers[..] else { return None };
        let is_read_once = self.readers.get(&x.buffer)?.len() == 1;
        match &mut self.plan.kernels[first].kernel {
            Kernel::Matvec(matvec) if parts == 1 && writers.len() == 1 => {
                let sums = matvec.workgroups_per_row();
                let Output::Rows { norm: norm @ None, .. } = &mut matvec.product.epilogue.output
                else {
                    return None;
                };
                *norm = Some(partial(sums));
                Some(sums)
            }
            Kernel::RmsNorm(before) if parts == 1 && before.parts == 1 && writers.len() == 1 => {
                before.norm = Some(partial(1));
                Some(1)
            }
            Kernel::SsmStep(step)
                if is_read_once && step.shape.head_count.is_multiple_of(parts) =>
            {
                let sums = step.shape.head_count;
                (step.y, step.weight) = (x.with_sums(buffer, sums), Some(weight));
                Some(sums)
            }
            Kernel::Embed(embed) if parts == 1 => {
                // The other writers are the other parts of the embedding matrix.
                let sums = embed.workgroups_per_row();
                for writer in writers {
                    if let Kernel::Embed(embed) = &mut self.plan.kernels[*writer].kernel {
                        embed.norm = Some(partial(sums));
                    }
                }
                Some(sums)
            }
            _ => None,
        }
    }
}

/// Queries of the rules.
impl Fusion<'_, '_> {
    /// The product of the heads in a buffer that only the kernel `reader` reads.
    fn head_source(&mut self, reader: usize, heads: Buffer) -> Option<HeadSource> {
        let (writer, rotation, mut between) = match self.writers_only_for(reader, heads)?[..] {
            [writer] => (writer, None, Vec::new()),
            [writer, rope] => match self.kernel(rope) {
                Kernel::Rope(Rope { rotation, .. }) => (writer, Some(*rotation), vec![rope]),
                _ => return None,
            },
            _ => return None,
        };
        let (product, norm) = match *self.kernel(writer) {
            Kernel::RmsNorm(RmsNorm {
                x, weight, weight_shared_by_heads: true, epsilon, ..
            }) => {
                let &[product] = &self.products_only_for(writer, x.buffer)?[..] else {
                    return None;
                };
                between.push(writer);
                (product, Some((weight, epsilon)))
            }
            _ => (writer, None),
        };
        let is_linear = self.product(product)?.epilogue.is_linear();
        is_linear.then_some(HeadSource { product, norm, rotation, between })
    }

    /// The product of the heads that are stored in a cache.
    fn cached_source(&mut self, cache: Buffer) -> Option<HeadSource> {
        let &[store] = &self.writers.get(&cache)?[..] else { return None };
        let Kernel::CacheStore(CacheStore { x, .. }) = *self.kernel(store) else { return None };
        let mut source = self.head_source(store, x.buffer)?;
        source.between.push(store);
        Some(source)
    }

    /// The rotation of queries and keys, if the shader can compute it and values have none.
    fn common_rotation(&mut self, sources: &[HeadSource; 3], head_dim: u32) -> Option<Rotation> {
        let [rotation, of_keys, None] = sources.each_ref().map(|source| source.rotation) else {
            return None;
        };
        let fits = |rotation: Rotation| {
            rotation.pairing == Pairing::Adjacent || rotation.rotary_dim.is_multiple_of(4)
        };
        if rotation != of_keys || !rotation.is_none_or(fits) {
            return None;
        }
        Some(rotation.unwrap_or_else(|| Rotation {
            table: self.unused_buffer(),
            head_dim,
            rotary_dim: 0,
            pairing: Pairing::Adjacent,
        }))
    }

    /// The norm of queries and keys: `Some(None)` if there is none, `None` if it cannot be fused,
    /// which needs products of few rows, another binding, and a workgroup for each head.
    fn common_norm(
        &mut self,
        sources: &[HeadSource; 3],
        head_dim: u32,
    ) -> Option<Option<HeadNorm>> {
        let (q, k) = match sources.each_ref().map(|source| source.norm) {
            [None, None, None] => return Some(None),
            [Some(q), Some(k), None] => (q, k),
            _ => return None,
        };
        for source in sources {
            let matvec = self.matvec(source.product)?;
            let part = matvec.product.matrix;
            let bias = usize::from(matvec.product.epilogue.bias.is_some());
            let planes = part.format.rules().plane_row_bytes(part.columns as usize).len();
            // Inputs, queries, keys, values, rotary table and norm.
            if 6 + bias + planes > MAX_STORAGE_BUFFERS {
                return None;
            }
        }
        let is_whole = head_dim.is_multiple_of(4 * BROADCAST_LANES);
        if !is_whole || q.1 != k.1 {
            return None;
        }
        let weight = self.resources.joined_vector(&[q.0, k.0])?;
        Some(Some(HeadNorm { weight, epsilon: q.1 }))
    }

    /// The bias of stacked products, `Some(None)` if they have none.
    fn joined_bias(&mut self, products: &[usize]) -> Option<Option<Buffer>> {
        let biases = products.iter().map(|product| Some(self.product(*product)?.epilogue.bias));
        let biases: Vec<Buffer> =
            biases.collect::<Option<Vec<_>>>()?.into_iter().flatten().collect();
        match biases[..] {
            [] => Some(None),
            [bias] => Some(Some(bias)),
            _ => self.resources.joined_vector(&biases).map(Some),
        }
    }

    /// True if the rows of the second product follow those of the first in one matrix, for the same
    /// inputs and with the same transforms.
    fn are_stacked(&mut self, upper: usize, lower: usize) -> bool {
        let [upper, lower] = [upper, lower].map(|index| self.product(index).cloned());
        upper.zip(lower).is_some_and(|(upper, lower)| {
            let has_biases = upper.epilogue.bias.is_some() == lower.epilogue.bias.is_some();
            let end = upper.matrix.row_offset + upper.matrix.rows;
            has_biases
                && upper.epilogue.scale == lower.epilogue.scale
                && (upper.matrix.matrix, upper.x, end)
                    == (lower.matrix.matrix, lower.x, lower.matrix.row_offset)
        })
    }

    /// True if all writers of a buffer precede the kernel at an index.
    fn is_written_before(&self, buffer: Buffer, index: usize) -> bool {
        let mut writers = self.writers.get(&buffer).into_iter().flatten();
        writers.all(|writer| *writer < index)
    }

    /// A buffer for a binding that the kernel does not use.
    fn unused_buffer(&mut self) -> Buffer {
        let buffer = Buffer::Scratch(self.resources.index(self.plan.scratch.len()));
        let stride = Activation::stride_of(1);
        self.plan.scratch.push(Activation { buffer, rows: Rows::One, width: 1, stride });
        buffer
    }

    fn kernel(&self, index: usize) -> &Kernel {
        &self.plan.kernels[index].kernel
    }

    fn product(&mut self, index: usize) -> Option<&mut Projection> {
        self.plan.kernels.get_mut(index)?.kernel.product_mut()
    }

    fn matvec(&mut self, index: usize) -> Option<&mut Matvec> {
        match &mut self.plan.kernels.get_mut(index)?.kernel {
            Kernel::Matvec(matvec) => Some(matvec),
            _ => None,
        }
    }

    /// The writers of a buffer that only the kernel `reader` reads.
    fn writers_only_for(&self, reader: usize, buffer: Buffer) -> Option<Vec<usize>> {
        if self.readers.get(&buffer)? != &[reader] {
            return None;
        }
        self.writers.get(&buffer).cloned()
    }

    /// The writers of a buffer that only the kernel `reader` reads, if all are products that store
    /// their outputs, biased or scaled at most.
    fn products_only_for(&mut self, reader: usize, buffer: Buffer) -> Option<Vec<usize>> {
        let writers = self.writers_only_for(reader, buffer)?;
        let is_linear =
            |writer: &usize| self.product(*writer).is_some_and(|it| it.epilogue.is_linear());
        writers.iter().all(is_linear).then_some(writers)
    }

    /// [`Self::products_only_for`], products with a function of their outputs included.
    fn functions_only_for(&mut self, reader: usize, buffer: Buffer) -> Option<Vec<usize>> {
        let writers = self.writers_only_for(reader, buffer)?;
        let is_plain = |writer: &usize| {
            self.product(*writer).is_some_and(|it| it.epilogue.output == Output::PLAIN)
        };
        writers.iter().all(is_plain).then_some(writers)
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
