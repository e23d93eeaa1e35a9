//! The CPU executor: runs a plan by each kernel's meaning, or faster.
//!
//! By the meaning it is the reference that the GPU is compared with. As the fallback where there is no
//! GPU it has a second implementation of the kernels that take most of the time: products with packed
//! weights and inputs in whole numbers, for the instructions that the processor has.
//!
//! Reading order: [`variant`] (which way, and the seam to the instruction sets), [`packed`] and
//! [`inputs`] (what they work on), [`tile`] (the product, for all of them), [`product`] (a kernel of the
//! plan).

mod attention;
mod bandwidth;
mod floats;
mod functions;
mod inputs;
mod packed;
mod panels;
mod portable;
mod product;
mod scan;
mod threads;
mod tile;
mod variant;
mod vectors;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avxvnni;
#[cfg(target_arch = "aarch64")]
mod dotprod;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "wasm32")]
mod wasm;

use std::borrow::Cow;

pub use threads::{StartThreads, Threads, lend_thread};
pub use variant::CpuVariant;

use attention::Heads;
use panels::Panels;
use product::Products;

use bytemuck::Zeroable;
use bytemuck::allocation::try_zeroed_vec;

use crate::error::{Code, Error, Result};
use crate::kernels::{
    Activation, Buffer, CacheRows, CpuMatrix, CpuMemory, Elementwise, GatedActivation, Kernel,
    ScanRow, Step,
};
use crate::plan::{MatrixInfo, Plan, Resources, SharedRole, Slots, StateKind};

/// So many zeros, or `out-of-memory`: in a tab, memory ends early. What the system gives is zeros already.
fn zeros<T: Zeroable>(name: &str, count: u64) -> Result<Vec<T>> {
    let all = usize::try_from(count).ok().and_then(|count| try_zeroed_vec(count).ok());
    let size_bytes = count.saturating_mul(size_of::<T>() as u64);
    let no_room =
        || Error::new(Code::OutOfMemory, format!("no room for {size_bytes} bytes of {name}"));
    all.ok_or_else(no_room)
}

/// Bytes that this program holds of what it can ever have, where that is known: it is in wasm.
pub fn heap_bytes() -> Option<u64> {
    #[cfg(target_arch = "wasm32")]
    return Some(core::arch::wasm32::memory_size::<0>() as u64 * 65_536);
    #[cfg(not(target_arch = "wasm32"))]
    None
}

/// Bytes that an executor holds of a matrix.
pub fn matrix_bytes(matrix: &MatrixInfo, variant: CpuVariant) -> Result<u64> {
    Ok(match Panels::bytes_of(matrix, variant) {
        Some(size_bytes) => size_bytes,
        None => u64::from(matrix.rows) * matrix.format.row_bytes(matrix.columns as usize)? as u64,
    })
}

/// What writing a number of a row takes: roughly.
const NUMBER_NS: usize = 1;

/// Rows of so many words, cut into pieces of so many columns: for each piece what it has of every row.
fn pieces(words: &mut [f32], stride: usize, columns: usize) -> Vec<Vec<&mut [f32]>> {
    let mut pieces: Vec<_> = (0..stride.div_ceil(columns)).map(|_| Vec::new()).collect();
    for row in words.chunks_exact_mut(stride) {
        for (piece, columns) in pieces.iter_mut().zip(row.chunks_mut(columns)) {
            piece.push(columns);
        }
    }
    pieces
}

/// Writes each row of an activation, and what is behind its columns.
fn rows(
    threads: &Threads,
    memory: &mut CpuMemory,
    y: &Activation,
    step: Step,
    write: impl Fn(&CpuMemory, u32, &mut [f32]) + Sync,
) {
    let rows = y.rows.count(step.rows);
    memory.update(y.buffer, |memory, words| {
        let together = threads.together(rows as usize, y.width as usize * NUMBER_NS);
        let words = words[..y.start(rows)].chunks_mut(together * y.stride as usize);
        threads.each((0..).step_by(together).zip(words), |(first, words)| {
            for (row, words) in (first..).zip(words.chunks_exact_mut(y.stride as usize)) {
                write(memory, row, words);
            }
        });
    });
}

/// A model's memory on the CPU.
pub struct CpuExecutor {
    memory: CpuMemory,
    variant: CpuVariant,
    /// Matrices in panels; by the meaning they are in the memory as they are stored.
    panels: Vec<Option<Panels>>,
    products: Products,
    heads: Heads,
    threads: Threads,
    /// Per plan, the slot of each scratch buffer.
    slots: Vec<Vec<u32>>,
    tokens: Option<Buffer>,
    state: Vec<usize>,
    /// The shared buffers that are caches.
    caches: Vec<(Buffer, CacheRows)>,
    /// Those for the choice of tokens, which hold no numbers but bits.
    sampling: Vec<Buffer>,
}

impl CpuExecutor {
    /// Memory for these resources and plans; matrices and vectors still empty.
    pub fn new(resources: &Resources<'_>, slots: Slots, variant: CpuVariant) -> Result<Self> {
        let mut memory = CpuMemory::default();
        let mut panels = Vec::new();
        for buffer in resources.shared() {
            memory.shared.push(zeros(&buffer.name, buffer.words)?);
        }
        let tokens = resources.shared().iter().position(|buffer| buffer.role == SharedRole::Tokens);
        for matrix in resources.matrices() {
            let (rows, columns) = (matrix.rows as usize, matrix.columns as usize);
            let row_bytes = matrix.format.row_bytes(columns)?;
            panels.push(Panels::new(matrix, variant)?);
            let is_stored = panels.last().is_some_and(Option::is_none);
            let size_bytes = if is_stored { matrix_bytes(matrix, variant)? } else { 0 };
            let mut stored = zeros(&matrix.name(), size_bytes)?;
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
            slots.words.iter().map(|words| zeros("scratch", *words)).collect::<Result<_>>()?;
        let tokens = tokens.map(|index| Buffer::Shared(index as u16));
        let state = resources.state_buffers().map(|(index, _)| index).collect();
        let cache = |(index, kind)| match kind {
            StateKind::Positions(rows) => Some((Buffer::Shared(index as u16), rows)),
            StateKind::Recurrent => None,
        };
        let caches = resources.state_buffers().filter_map(cache).collect();
        let (products, heads, threads) = Default::default();
        let shared = (0..).map(Buffer::Shared).zip(resources.shared());
        let sampling = shared.filter(|(_, buffer)| buffer.role == SharedRole::Sampling);
        let sampling = sampling.map(|(buffer, _)| buffer).collect();
        let slots = slots.of;
        Ok(Self {
            memory,
            variant,
            panels,
            products,
            heads,
            threads,
            slots,
            tokens,
            state,
            caches,
            sampling,
        })
    }

    /// This, with these threads.
    pub fn with(self, threads: &Threads) -> Self {
        Self { threads: threads.clone(), ..self }
    }

    /// How many threads work.
    pub fn thread_count(&self) -> usize {
        self.threads.count()
    }

    /// Bytes that the threads together read of memory in a second.
    pub fn read_bandwidth(&self) -> f64 {
        self.threads.enter(|| bandwidth::measure(&self.threads))
    }

    /// Bytes of weights that a step of the plan reads, as they lie in memory.
    pub fn weight_bytes(&self, plan: &Plan) -> u64 {
        let kernels = plan.kernels.iter().map(|planned| &planned.kernel);
        let products = kernels.filter(|kernel| !matches!(kernel, Kernel::Embed(_)));
        let parts = products.filter_map(Kernel::matrix);
        let bytes = parts.map(|part| {
            let index = usize::from(part.matrix);
            let matrix = &self.memory.matrices[index];
            let size_bytes = match &self.panels[index] {
                Some(panels) => panels.size_bytes(),
                None => matrix.stored.len() as u64,
            };
            size_bytes * u64::from(part.rows) / matrix.rows as u64
        });
        bytes.sum()
    }

    /// Appends the next stored rows of a matrix.
    pub fn upload_rows(&mut self, matrix: usize, stored: &[u8]) {
        let rows = &mut self.memory.matrices[matrix];
        match &mut self.panels[matrix] {
            Some(panels) => panels.append(rows.format, rows.row_bytes, stored),
            None => rows.stored.extend_from_slice(stored),
        }
    }

    /// Bytes of all that was made for a model.
    pub fn allocated_bytes(&self) -> u64 {
        let words = self.memory.shared.iter().chain(&self.memory.slots);
        let stored = self.memory.matrices.iter().map(|matrix| matrix.stored.capacity() as u64);
        let panels = self.panels.iter().flatten().map(Panels::size_bytes);
        words.map(|words| size_of_val(&**words) as u64).chain(stored).chain(panels).sum()
    }

    /// Writes a shared buffer from word `first` on.
    pub fn write_shared(&mut self, index: usize, first: u64, words: &[f32]) {
        self.memory.shared[index][first as usize..][..words.len()].copy_from_slice(words);
    }

    /// Zeroes what the sequence carries.
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
        threads.enter(|| {
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
        let panels = matrix.and_then(|matrix| self.panels[matrix].as_ref());
        let (memory, products, threads) = (&mut self.memory, &mut self.products, &self.threads);
        let variant = self.variant;
        let how = (variant, threads);
        let convolve = move |_, conv: &[f32], inputs: &[&[f32]], y: &mut [f32]| {
            variant.convolve(conv, inputs, y)
        };
        let scan = |shape,
                    rows: &[ScanRow<'_>],
                    scalars: &[f32],
                    state: &mut [f32],
                    y: &mut [f32],
                    stride| {
            scan::scan(how, shape, rows, scalars, state, (y, stride));
        };
        match (kernel, panels) {
            (Kernel::Matmul(matmul), Some(panels)) => {
                products.matmul(how, panels, memory, matmul, step)
            }
            (Kernel::Matvec(matvec), Some(panels)) => {
                products.matvec(how, panels, memory, matvec, step)
            }
            (Kernel::Embed(embed), Some(panels)) => {
                embed.rows(memory, step, |_, row, weights| panels.row(row, weights));
            }
            (Kernel::Attention(attention), _) => self.heads.run(how, memory, attention, step),
            (Kernel::AttentionMerge(_), _) => {}
            (Kernel::Elementwise(Elementwise { x, y, function }), _) => {
                rows(threads, memory, y, step, |memory, row, y| {
                    let y = &mut y[..x.width as usize];
                    y.copy_from_slice(memory.row(x, row));
                    variant.apply(*function, y);
                });
            }
            (Kernel::GatedActivation(GatedActivation { gate, up, y, function }), _) => {
                rows(threads, memory, y, step, |memory, row, y| {
                    let y = &mut y[..gate.width as usize];
                    y.copy_from_slice(memory.row(gate, row));
                    variant.apply(*function, y);
                    y.iter_mut().zip(memory.row(up, row)).for_each(|(y, up)| *y *= up);
                });
            }
            (Kernel::RmsNorm(norm), _) => {
                rows(threads, memory, &norm.y, step, |memory, row, y| norm.row(memory, row, y));
            }
            (Kernel::LayerNorm(norm), _) => {
                rows(threads, memory, &norm.y, step, |memory, row, y| norm.row(memory, row, y));
            }
            (Kernel::Add(add), _) => {
                rows(threads, memory, &add.y, step, |memory, row, y| add.row(memory, row, y));
            }
            (Kernel::SsmConv(conv), _) => {
                rows(threads, memory, &conv.y, step, |memory, row, y| {
                    conv.row(memory, step, row, &convolve, y);
                });
                conv.keep(memory, step);
            }
            (Kernel::SsmScan(kernel), _) => kernel.run(memory, step, &scan),
            (Kernel::SsmStep(kernel), _) => kernel.run(memory, step, &convolve, &scan),
            // What only the GPU needs: the scan has its own way to the same numbers.
            (Kernel::SsmScores(_), _) => {}
            _ => kernel.reference(memory, step),
        }
    }

    /// How it computes.
    pub fn variant(&self) -> CpuVariant {
        self.variant
    }

    /// The words of a buffer of the plan that ran last.
    pub fn read(&self, buffer: Buffer) -> &[f32] {
        self.memory.read(buffer)
    }

    /// The numbers that words of a buffer stand for.
    pub fn numbers<'a>(&self, buffer: Buffer, words: &'a [f32]) -> Cow<'a, [f32]> {
        match self.caches.iter().find(|(cache, _)| *cache == buffer) {
            Some((_, rows)) => Cow::Owned(rows.numbers(words)),
            None if self.sampling.contains(&buffer) => Cow::Borrowed(&[]),
            None => Cow::Borrowed(words),
        }
    }

    /// Sets the first words of a buffer of the plan that ran last.
    pub fn write(&mut self, buffer: Buffer, words: &[f32]) {
        self.memory.buffer_mut(buffer)[..words.len()].copy_from_slice(words);
    }
}
