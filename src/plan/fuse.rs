//! Fusion: a plan with fewer kernels that means the same.
//!
//! Runs of kernels around a matrix product become one: what is made of its outputs is left to its
//! [`Epilogue`] and, where rows are few, what made its inputs to its [`Prologue`]. Each rule is a pass
//! over the kernels; what no rule matches stays as it is.

use std::collections::{BTreeMap, BTreeSet};

use super::{Plan, Resources};
use crate::kernels::{
    Activation, Add, Attention, Buffer, Cache, CacheStore, Elementwise, Epilogue, GatedActivation,
    Heads, Kernel, Matmul, Matvec, Pairing, Projection, Prologue, RmsNorm, Rope, Rows, Turn,
    Weighted,
};

/// The plan with kernels fused.
pub fn fuse(plan: Plan, resources: &mut Resources<'_>) -> Plan {
    let mut fusion = Fusion { plan, resources, readers: BTreeMap::new(), writers: BTreeMap::new() };
    for rule in [
        Fusion::bias,
        Fusion::function,
        Fusion::gate,
        Fusion::heads,
        Fusion::residual,
        Fusion::norm,
    ] {
        fusion.note_uses();
        let count = fusion.plan.kernels.len();
        let gone: BTreeSet<usize> =
            (0..count).filter_map(|index| rule(&mut fusion, index)).flatten().collect();
        let mut index = 0..;
        fusion.plan.kernels.retain(|_| index.next().is_some_and(|index| !gone.contains(&index)));
    }
    fusion.plan
}

/// A product that writes heads.
struct Source {
    product: usize,
    /// How they are turned then.
    turn: Option<Turn>,
    /// The kernels between the product and whoever reads the heads.
    gone: Vec<usize>,
}

/// A plan, and the indices of the kernels that use each buffer.
struct Fusion<'a, 'b> {
    plan: Plan,
    resources: &'a mut Resources<'b>,
    readers: BTreeMap<Buffer, Vec<usize>>,
    writers: BTreeMap<Buffer, Vec<usize>>,
}

/// A rule looks at the kernel of an index, and gives the indices of those that others do now.
impl Fusion<'_, '_> {
    /// `weights · x + bias`.
    fn bias(&mut self, index: usize) -> Option<Vec<usize>> {
        let Kernel::Add(Add { a, b, b_stride: 0, y }) = *self.kernel(index) else { return None };
        let &[product] = &self.products_only_for(index, a.buffer)?[..] else { return None };
        let product = self.product(product)?;
        (product.bias, product.y) = (Some(b), y);
        Some(vec![index])
    }

    /// `f(weights · x)`.
    fn function(&mut self, index: usize) -> Option<Vec<usize>> {
        let Kernel::Elementwise(Elementwise { x, y, function }) = *self.kernel(index) else {
            return None;
        };
        for product in self.products_only_for(index, x.buffer)? {
            self.become_of(product, Epilogue::Function(function), y);
        }
        Some(vec![index])
    }

    /// `f(gate · x) · (up · x)`, where the two matrices are stacked.
    fn gate(&mut self, index: usize) -> Option<Vec<usize>> {
        let Kernel::GatedActivation(GatedActivation { gate, up, y, function }) =
            *self.kernel(index)
        else {
            return None;
        };
        let (gates, ups) = (
            self.products_only_for(index, gate.buffer)?,
            self.products_only_for(index, up.buffer)?,
        );
        let (&[gate], &[up]) = (&gates[..], &ups[..]) else { return None };
        let [rows, rows_of_up] = [self.product(gate)?.matrix.rows, self.product(up)?.matrix.rows];
        let has_bias = self.product(gate)?.bias.is_some();
        if has_bias || !self.are_stacked(gate, up) || rows != rows_of_up || !rows.is_multiple_of(2)
        {
            return None;
        }
        self.product(gate)?.matrix.rows += rows;
        self.become_of(gate, Epilogue::Gate(function), y);
        Some(vec![up, index])
    }

    /// Queries, keys and values of an attention: turned, and kept.
    fn heads(&mut self, index: usize) -> Option<Vec<usize>> {
        let Kernel::Attention(Attention { q, keys, values, shape, .. }) = *self.kernel(index)
        else {
            return None;
        };
        let sources =
            [self.source(index, q.buffer)?, self.kept(keys.buffer)?, self.kept(values.buffer)?];
        let [turn, turn_of_keys, None] = sources.each_ref().map(|source| source.turn) else {
            return None;
        };
        let fits =
            |turn: Turn| turn.pairing == Pairing::Adjacent || turn.rotary_dim.is_multiple_of(4);
        if turn != turn_of_keys
            || !turn.is_none_or(fits)
            || Heads::store(keys.rows.format).is_none()
        {
            return None;
        }
        let turn = turn.unwrap_or_else(|| Turn {
            table: self.nothing().buffer,
            head_dim: shape.head_dim,
            rotary_dim: 0,
            pairing: Pairing::Adjacent,
        });
        let products = sources.each_ref().map(|source| source.product);
        let mut gone: Vec<usize> = sources.into_iter().flat_map(|source| source.gone).collect();
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
            let buffers = [q.buffer, keys.buffer, values.buffer].into_iter().zip(rows);
            let buffers =
                buffers.map(|(buffer, rows)| if rows > 0 { buffer } else { self.nothing().buffer });
            let [q_buffer, key_buffer, value_buffer] = buffers.collect::<Vec<_>>()[..] else {
                return None;
            };
            let biases: Vec<Buffer> = products[first..end]
                .iter()
                .filter_map(|product| self.product(*product)?.bias)
                .collect();
            let bias = match biases[..] {
                [] => None,
                [bias] => Some(bias),
                _ => Some(self.resources.joined_vector(&biases)?),
            };
            let product = self.product(products[first])?;
            product.bias = bias;
            product.matrix.rows = rows.iter().sum();
            product.y = Activation { buffer: q_buffer, ..q };
            let keys = Cache { buffer: key_buffer, ..keys };
            let values = Cache { buffer: value_buffer, ..values };
            product.epilogue = Epilogue::Heads(Heads { rows, keys, values, turn });
            gone.extend(&products[first + 1..end]);
            first = end;
        }
        Some(gone)
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
        let Kernel::RmsNorm(RmsNorm { x, weight, y, parts, same_weights, epsilon }) =
            *self.kernel(index)
        else {
            return None;
        };
        let readers = self.readers.get(&y.buffer)?.clone();
        let are_inputs = readers.iter().all(|reader| {
            let matvec = self.matvec(*reader).filter(|matvec| matvec.prologue == Prologue::Plain);
            matvec.is_some_and(|matvec| matvec.product.x == y)
        });
        if !are_inputs || same_weights || !Prologue::can_norm(x.width, parts) {
            return None;
        }
        let buffer = Buffer::Scratch(self.resources.index(self.plan.scratch.len()));
        let sums = self.weigh(&x, weight, parts, buffer)?;
        let weighted = x.with_sums(buffer, sums);
        self.plan.scratch.push(weighted);
        for reader in readers {
            let matvec = self.matvec(reader)?;
            matvec.product.x = weighted;
            matvec.prologue = Prologue::Rms { parts, sums, epsilon };
        }
        Some(vec![index])
    }

    /// Has those who write `x` write what a norm makes of it but for its scale, into that new buffer;
    /// gives how many sums of squares they write.
    fn weigh(&mut self, x: &Activation, weight: Buffer, parts: u32, buffer: Buffer) -> Option<u32> {
        let writers = self.writers.get(&x.buffer)?;
        let weighted = |sums| Weighted { weight, row: x.with_sums(buffer, sums) };
        let [first, ..] = writers[..] else { return None };
        let is_read_once = self.readers.get(&x.buffer)?.len() == 1;
        match &mut self.plan.kernels[first].kernel {
            Kernel::Matvec(matvec) if parts == 1 && writers.len() == 1 => {
                let Epilogue::Add { residual } = matvec.product.epilogue else { return None };
                let sums = matvec.workgroups_of_a_row();
                matvec.product.epilogue =
                    Epilogue::AddSquares { residual, weighted: weighted(sums) };
                Some(sums)
            }
            Kernel::SsmStep(step)
                if is_read_once && step.shape.head_count.is_multiple_of(parts) =>
            {
                let sums = step.shape.head_count;
                (step.y, step.weight) = (x.with_sums(buffer, sums), Some(weight));
                Some(sums)
            }
            Kernel::Embed(embed) if parts == 1 => {
                // Parts of one matrix, and nobody else.
                let sums = embed.workgroups_of_a_row();
                for writer in writers {
                    if let Kernel::Embed(embed) = &mut self.plan.kernels[*writer].kernel {
                        embed.weighted = Some(weighted(sums));
                    }
                }
                Some(sums)
            }
            _ => None,
        }
    }

    /// The product that writes heads which only that kernel reads.
    fn source(&mut self, reader: usize, heads: Buffer) -> Option<Source> {
        if self.readers.get(&heads)? != &[reader] {
            return None;
        }
        let (product, turn, gone) = match self.writers.get(&heads)?[..] {
            [product] => (product, None, Vec::new()),
            [product, rope] => match self.kernel(rope) {
                Kernel::Rope(Rope { turn, .. }) => (product, Some(*turn), vec![rope]),
                _ => return None,
            },
            _ => return None,
        };
        let is_stored = self.product(product)?.epilogue == Epilogue::Store;
        is_stored.then_some(Source { product, turn, gone })
    }

    /// The product that writes what is kept in a cache.
    fn kept(&mut self, cache: Buffer) -> Option<Source> {
        let &[store] = &self.writers.get(&cache)?[..] else { return None };
        let Kernel::CacheStore(CacheStore { x, .. }) = *self.kernel(store) else { return None };
        let mut source = self.source(store, x.buffer)?;
        source.gone.push(store);
        Some(source)
    }

    /// Whether the rows of the second product are below those of the first, for the same inputs.
    fn are_stacked(&mut self, above: usize, below: usize) -> bool {
        let [above, below] = [above, below].map(|index| self.product(index).cloned());
        above.zip(below).is_some_and(|(above, below)| {
            let has_biases = above.bias.is_some() == below.bias.is_some();
            let end = above.matrix.above + above.matrix.rows;
            has_biases
                && (above.matrix.matrix, above.x, end)
                    == (below.matrix.matrix, below.x, below.matrix.above)
        })
    }

    /// A buffer for a binding that is not used.
    fn nothing(&mut self) -> Activation {
        let buffer = Buffer::Scratch(self.resources.index(self.plan.scratch.len()));
        let nothing =
            Activation { buffer, rows: Rows::One, width: 1, stride: Activation::stride_of(1) };
        self.plan.scratch.push(nothing);
        nothing
    }

    fn kernel(&self, index: usize) -> &Kernel {
        &self.plan.kernels[index].kernel
    }

    fn product(&mut self, index: usize) -> Option<&mut Projection> {
        match &mut self.plan.kernels.get_mut(index)?.kernel {
            Kernel::Matvec(Matvec { product, .. }) | Kernel::Matmul(Matmul { product, .. }) => {
                Some(product)
            }
            _ => None,
        }
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
        let mut stored =
            writers.iter().map(|writer| Some(self.product(*writer)?.epilogue == Epilogue::Store));
        stored.all(|stored| stored == Some(true)).then_some(writers)
    }

    fn become_of(&mut self, product: usize, epilogue: Epilogue, y: Activation) {
        if let Some(product) = self.product(product) {
            (product.epilogue, product.y) = (epilogue, y);
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
