//! The CPU executor: buffers and packed weights of a model, and the kernels of its plans.

use std::borrow::Cow;

use super::allocation::try_zeroed;
use super::attention::AttentionScratch;
use super::packed_matrix::PackedMatrix;
use super::product::ProductScratch;
use super::threads::Threads;
use super::variant::CpuVariant;
use super::{bandwidth, mixer, rows, short_conv};
use crate::error::Result;
use crate::kernels::{Buffer, CacheRows, CpuMatrix, CpuMemory, Kernel, Step};
use crate::plan::{MatrixInfo, Plan, Resources, SharedRole, Slots, StateKind};

/// Bytes that a matrix takes in an executor of that variant; `malformed` if its rows are not whole
/// blocks.
pub fn matrix_bytes(matrix: &MatrixInfo, variant: CpuVariant) -> Result<u64> {
    Ok(match PackedMatrix::bytes_of(matrix, variant) {
        Some(size_bytes) => size_bytes,
        None => u64::from(matrix.rows) * matrix.format.row_bytes(matrix.columns as usize)? as u64,
    })
}

/// A model's buffers on the CPU, and the means to run its plans.
pub struct CpuExecutor {
    memory: CpuMemory,
    variant: CpuVariant,
    /// Packed matrices; `None` where the variant uses the stored rows in `memory`.
    matrices: Vec<Option<PackedMatrix>>,
    products: ProductScratch,
    attention: AttentionScratch,
    threads: Threads,
    /// Slot of each scratch buffer, per plan.
    slots: Vec<Vec<u32>>,
    /// Buffer of the step's token ids.
    tokens: Option<Buffer>,
    /// Indices of the shared buffers that carry a sequence's state.
    state: Vec<usize>,
    /// Shared buffers of KV caches, and the format of their rows.
    caches: Vec<(Buffer, CacheRows)>,
    /// Shared buffers of sampling, which hold bit patterns.
    sampling: Vec<Buffer>,
}

impl CpuExecutor {
    /// Allocates the buffers of resources and plans; weights are yet to be written.
    /// `out-of-memory` if there is no room.
    pub fn new(resources: &Resources<'_>, slots: Slots, variant: CpuVariant) -> Result<Self> {
        let mut memory = CpuMemory::default();
        let mut matrices = Vec::new();
        for buffer in resources.shared() {
            memory.shared.push(try_zeroed(&buffer.name, buffer.words)?);
        }
        let tokens = resources.shared().iter().position(|buffer| buffer.role == SharedRole::Tokens);
        for matrix in resources.matrices() {
            let (rows, columns) = (matrix.rows as usize, matrix.columns as usize);
            let row_bytes = matrix.format.row_bytes(columns)?;
            let packed = PackedMatrix::new(matrix, variant)?;
            let size_bytes = if packed.is_none() { matrix_bytes(matrix, variant)? } else { 0 };
            matrices.push(packed);
            let mut stored = try_zeroed(&matrix.name(), size_bytes)?;
            stored.clear();
            memory.matrices.push(CpuMatrix {
                format: matrix.format,
                rows,
                columns,
                row_bytes,
                stored,
            });
        }
        memory.slots =
            slots.words.iter().map(|words| try_zeroed("scratch", *words)).collect::<Result<_>>()?;
        let tokens = tokens.map(|index| Buffer::Shared(index as u16));
        let state = resources.state_buffers().map(|(index, _)| index).collect();
        let cache = |(index, kind)| match kind {
            StateKind::Positions(rows) => Some((Buffer::Shared(index as u16), rows)),
            StateKind::Recurrent => None,
        };
        let caches = resources.state_buffers().filter_map(cache).collect();
        let (products, attention, threads) = Default::default();
        let shared = (0..).map(Buffer::Shared).zip(resources.shared());
        let sampling = shared.filter(|(_, buffer)| buffer.role == SharedRole::Sampling);
        let sampling = sampling.map(|(buffer, _)| buffer).collect();
        let slots = slots.of;
        Ok(Self {
            memory,
            variant,
            matrices,
            products,
            attention,
            threads,
            slots,
            tokens,
            state,
            caches,
            sampling,
        })
    }

    /// Returns the executor with these threads; a new one has only the current thread.
    pub fn with_threads(self, threads: &Threads) -> Self {
        Self { threads: threads.clone(), ..self }
    }

    /// Number of threads that work.
    pub fn thread_count(&self) -> usize {
        self.threads.count()
    }

    /// Measures how many bytes per second all threads together read from memory.
    pub fn read_bandwidth(&self) -> f64 {
        self.threads.run_step(|| bandwidth::measure(&self.threads))
    }

    /// Bytes of weights in memory that a step of the plan reads, without the embedding.
    pub fn weight_bytes(&self, plan: &Plan) -> u64 {
        let kernels = plan.kernels.iter().map(|planned| &planned.kernel);
        let matrices = kernels.filter(|kernel| kernel.reads_whole_matrix());
        let parts = matrices.filter_map(Kernel::matrix);
        let bytes = parts.map(|part| {
            let index = usize::from(part.matrix);
            let matrix = &self.memory.matrices[index];
            let size_bytes = match &self.matrices[index] {
                Some(packed) => packed.size_bytes(),
                None => matrix.stored.len() as u64,
            };
            size_bytes * u64::from(part.rows) / matrix.rows as u64
        });
        bytes.sum()
    }

    /// Appends the next stored rows of a matrix, packed if the variant packs its format.
    pub fn upload_rows(&mut self, matrix: usize, stored: &[u8]) {
        let rows = &mut self.memory.matrices[matrix];
        match &mut self.matrices[matrix] {
            Some(packed) => packed.append(rows.format, rows.row_bytes, stored),
            None => rows.stored.extend_from_slice(stored),
        }
    }

    /// Bytes of all buffers.
    pub fn allocated_bytes(&self) -> u64 {
        let words = self.memory.shared.iter().chain(&self.memory.slots);
        let stored = self.memory.matrices.iter().map(|matrix| matrix.stored.capacity() as u64);
        let packed = self.matrices.iter().flatten().map(PackedMatrix::size_bytes);
        words.map(|words| size_of_val(&**words) as u64).chain(stored).chain(packed).sum()
    }

    /// Writes a shared buffer from word `first` on.
    pub fn write_shared(&mut self, index: usize, first: u64, words: &[f32]) {
        self.memory.shared[index][first as usize..][..words.len()].copy_from_slice(words);
    }

    /// Copies shared buffers to others of the same size.
    pub fn copy_shared(&mut self, copies: impl IntoIterator<Item = (usize, usize)>) {
        for (from, to) in copies {
            if let Ok([from, to]) = self.memory.shared.get_disjoint_mut([from, to]) {
                to.copy_from_slice(from);
            }
        }
    }

    /// Zeroes the sequence's state: KV caches and recurrent state.
    pub fn clear_state(&mut self) {
        for index in &self.state {
            self.memory.shared[*index].fill(0.0);
        }
    }

    /// Sets the step's token ids.
    pub fn write_tokens(&mut self, tokens: &[u32]) {
        if let Some(buffer) = self.tokens {
            let words = self.memory.buffer_mut(buffer);
            for (word, token) in words.iter_mut().zip(tokens) {
                *word = f32::from_bits(*token);
            }
        }
    }

    /// Runs the kernels `range` of a plan.
    pub fn run(
        &mut self,
        plan_index: usize,
        plan: &Plan,
        range: std::ops::Range<usize>,
        step: Step,
    ) {
        self.memory.slot_of.clone_from(&self.slots[plan_index]);
        let threads = self.threads.clone();
        threads.run_step(|| {
            for planned in &plan.kernels[range] {
                self.run_kernel(&planned.kernel, step);
            }
        });
    }

    fn run_kernel(&mut self, kernel: &Kernel, step: Step) {
        if self.variant == CpuVariant::Exact {
            kernel.reference(&mut self.memory, step);
            return;
        }
        let matrix = kernel.matrix().map(|part| usize::from(part.matrix));
        let packed = matrix.and_then(|matrix| self.matrices[matrix].as_ref());
        let (memory, products, threads) = (&mut self.memory, &mut self.products, &self.threads);
        let context = (self.variant, threads);
        // Exhaustive, so that a new kernel states how the CPU runs it.
        match (kernel, packed) {
            (Kernel::Matmul(matmul), Some(matrix)) => {
                products.matmul(context, matrix, memory, matmul, step);
            }
            (Kernel::Matvec(matvec), Some(matrix)) => {
                products.matvec(context, matrix, memory, matvec, step);
            }
            (Kernel::Embed(embed), Some(matrix)) => rows::embed(matrix, memory, embed, step),
            // Formats that have neither an integer nor a float form are not packed.
            (Kernel::Matmul(_) | Kernel::Matvec(_) | Kernel::Embed(_), None) => {
                kernel.reference(memory, step);
            }
            (Kernel::Attention(kernel), _) => self.attention.run(context, memory, kernel, step),
            (Kernel::Elementwise(kernel), _) => rows::elementwise(context, memory, kernel, step),
            (Kernel::GateHeads(kernel), _) => rows::gate_heads(threads, memory, kernel, step),
            (Kernel::Glu(kernel), _) => rows::glu(context, memory, kernel, step),
            (Kernel::RmsNorm(norm), _) => rows::rms_norm(threads, memory, norm, step),
            (Kernel::LayerNorm(norm), _) => rows::layer_norm(threads, memory, norm, step),
            (Kernel::Add(kernel), _) => rows::add(threads, memory, kernel, step),
            (Kernel::ShortConv(kernel), _) => short_conv::run(context, memory, kernel, step),
            (Kernel::SsmConv(kernel), _) => mixer::conv(context, memory, kernel, step),
            (Kernel::SsmScan(kernel), _) => mixer::run_scan(context, memory, kernel, step),
            (Kernel::SsmStep(kernel), _) => mixer::run_step(context, memory, kernel, step),
            // Only the GPU splits attention and scan into several kernels.
            (Kernel::AttentionMerge(_) | Kernel::SsmScores(_), _) => {}
            // Little work: copies, means, unfused rotations, sampling of one token.
            (
                Kernel::CacheStore(_)
                | Kernel::AdjustLogits(_)
                | Kernel::LastRow(_)
                | Kernel::MeanRows(_)
                | Kernel::Sample(_)
                | Kernel::Rope(_),
                _,
            ) => kernel.reference(memory, step),
        }
    }

    /// The implementation in use.
    pub fn variant(&self) -> CpuVariant {
        self.variant
    }

    /// Words of a buffer of the plan that ran last.
    pub fn read(&self, buffer: Buffer) -> &[f32] {
        self.memory.read(buffer)
    }

    /// Decodes words of a buffer to values that can be compared: KV caches to their elements,
    /// sampling buffers, which hold bit patterns, to nothing.
    pub fn decode<'a>(&self, buffer: Buffer, words: &'a [f32]) -> Cow<'a, [f32]> {
        match self.caches.iter().find(|(cache, _)| *cache == buffer) {
            Some((_, rows)) => Cow::Owned(rows.decode(words)),
            None if self.sampling.contains(&buffer) => Cow::Borrowed(&[]),
            None => Cow::Borrowed(words),
        }
    }

    /// Writes the first words of a buffer of the plan that ran last.
    pub fn write(&mut self, buffer: Buffer, words: &[f32]) {
        self.memory.buffer_mut(buffer)[..words.len()].copy_from_slice(words);
    }
}
