//! Kernels: one unit each, `shaders/<name>.wgsl` and `src/kernels/<name>.rs` of the same name.
//!
//! A kernel's file states everything that is known of the kernel ([`KernelRules`]): the buffers
//! that it binds, the constants and parts of its shader, the workgroups of a step, the weights that
//! it reads, and its CPU reference, plain loops over the stored weights that accumulate in `f64`.
//! Nothing here knows an executor.

mod cache;
mod epilogue;
mod heads;
mod matmul_tiling;
mod matvec_strategy;
mod memory;
mod norms;
mod pieces;
mod projection;
mod prologue;
mod sampling;
mod ssm;

mod add;
mod adjust_logits;
mod attention;
mod attention_merge;
mod cache_store;
mod elementwise;
mod embed;
mod gate_heads;
mod glu;
mod last_row;
mod layer_norm;
mod matmul;
mod matvec;
mod mean_rows;
mod rms_norm;
mod rope;
mod sample;
mod short_conv;
mod ssm_conv;
mod ssm_scan;
mod ssm_scores;
mod ssm_step;

pub use add::Add;
pub use adjust_logits::AdjustLogits;
pub use attention::{Attention, AttentionShape};
pub use attention_merge::AttentionMerge;
pub(crate) use cache::f16_to_f32;
pub use cache::{Cache, CacheFormat, CacheRows, Ring};
pub use cache_store::CacheStore;
pub use elementwise::{ActivationFunction, Elementwise};
pub use embed::Embed;
pub(crate) use epilogue::Written;
pub use epilogue::{Epilogue, Output};
pub use gate_heads::GateHeads;
pub(crate) use gate_heads::logistic;
pub use glu::Glu;
pub use heads::{HeadNorm, Heads};
pub use last_row::LastRow;
pub use layer_norm::LayerNorm;
pub use matmul::Matmul;
pub use matmul_tiling::MatmulTiling;
pub use matvec::Matvec;
pub use matvec_strategy::{Arithmetic, MatvecStrategy, Reduction};
pub use mean_rows::MeanRows;
pub use memory::{CpuMatrix, CpuMemory};
pub use norms::PartialNorm;
pub use pieces::{SHADER_PIECES, shader_feature, shader_piece};
pub use projection::Projection;
pub use prologue::Prologue;
pub use rms_norm::RmsNorm;
pub use rope::{Pairing, PositionScale, Rope, RotaryTable, Rotation};
pub use sample::Sample;
pub use sampling::{SampledToken, SamplingBuffers};
pub use short_conv::ShortConv;
pub use ssm::{ScanBuffers, ScanShape};
pub use ssm_conv::SsmConv;
pub use ssm_scan::SsmScan;
pub use ssm_scores::SsmScores;
pub use ssm_step::SsmStep;

use crate::formats::{Format, UNIT};

/// Parameters of a step, the only uniform. Mirrored in `shaders/lib/step.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Step {
    /// Position in the sequence of the step's first row.
    pub position: u32,
    /// Rows in this step.
    pub rows: u32,
}

/// A buffer of 4-byte words, as a plan names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Buffer {
    /// Activations of one plan, by index; may share memory with others of that plan.
    Scratch(u16),
    /// Weights, tables, inputs and state, by index, common to all plans of a model.
    Shared(u16),
}

/// Number of rows of an activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rows {
    /// The rows of the step.
    Step,
    /// One row in every step.
    One,
}

impl Rows {
    /// Returns the count in a step of `step_rows` rows.
    pub fn count(self, step_rows: u32) -> u32 {
        match self {
            Rows::Step => step_rows,
            Rows::One => 1,
        }
    }
}

/// Rows of activations: `width` words each, `stride` words apart. Strides are whole units of 32
/// words, so that shaders can read four words at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Activation {
    /// Buffer that holds the rows from its first word on.
    pub buffer: Buffer,
    /// Number of rows.
    pub rows: Rows,
    /// Words of a row.
    pub width: u32,
    /// Words from row to row.
    pub stride: u32,
}

impl Activation {
    /// Returns the stride of rows of `width` words.
    pub fn stride_of(width: u32) -> u32 {
        width.next_multiple_of(UNIT as u32)
    }

    /// Rows of the same shape in `buffer`, with room for `sums` words after the columns of each.
    pub fn with_sums(self, buffer: Buffer, sums: u32) -> Self {
        Self { buffer, stride: Self::stride_of(self.width) + Self::stride_of(sums), ..self }
    }

    /// Words of a row after its padded columns: room for partial sums.
    pub fn sums(&self) -> u32 {
        self.stride - Self::stride_of(self.width)
    }

    /// Words of all rows in a plan for `capacity` rows.
    pub fn words(&self, capacity: u32) -> u64 {
        u64::from(self.rows.count(capacity)) * u64::from(self.stride)
    }

    /// Index of the first word of row `row`.
    pub fn start(&self, row: u32) -> usize {
        row as usize * self.stride as usize
    }

    /// Workgroups of a kernel with one invocation per column and row, 64 columns to a workgroup.
    fn workgroups(&self, step: Step) -> [u32; 3] {
        [self.width.div_ceil(64), self.rows.count(step.rows), 1]
    }

    /// Values of the `override`s `WIDTH` and `STRIDE`.
    fn constants(&self) -> [(&'static str, f64); 2] {
        [("WIDTH", self.width.into()), ("STRIDE", self.stride.into())]
    }
}

/// Rows `first_row .. first_row + rows` of a tensor, as one binding holds them. A matrix is one
/// tensor, bound whole or in parts, or several tensors of one width, stacked and bound together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MatrixPart {
    /// Index of the matrix among the model's resources.
    pub matrix: u16,
    /// Index of the part in the matrix.
    pub part: u16,
    /// Weight format.
    pub format: Format,
    /// Rows of the stacked tensors before this one.
    pub row_offset: u32,
    /// First row in its tensor.
    pub first_row: u32,
    /// Rows of this part.
    pub rows: u32,
    /// Weights per row.
    pub columns: u32,
}

impl MatrixPart {
    /// Bytes of its planes on the GPU.
    pub fn size_bytes(&self) -> u64 {
        let row_bytes = self.format.rules().plane_row_bytes(self.columns as usize);
        u64::from(self.rows) * row_bytes.into_iter().sum::<usize>() as u64
    }
}

/// A buffer that a kernel binds, in `@binding` order from 1 (binding 0 is the [`Step`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// The bound buffer.
    pub buffer: Buffer,
    /// True if the kernel writes it.
    pub write: bool,
}

impl Binding {
    fn read(buffer: Buffer) -> Self {
        Self { buffer, write: false }
    }

    fn write(buffer: Buffer) -> Self {
        Self { buffer, write: true }
    }
}

/// A slot of a shader and the file of `shaders/` that fills it, both as `#import` names them.
pub type Import = (&'static str, &'static str);

/// Everything that is known of a kernel.
pub trait KernelRules {
    /// File stem of shader and kernel, and label in profiles.
    const NAME: &'static str;
    /// Text of the shader, imports unresolved.
    const SHADER: &'static str;
    /// Buffers in `@binding` order, from binding 1 of group 0.
    fn bindings(&self) -> Vec<Binding>;
    /// The weight matrix in group 1.
    fn matrix(&self) -> Option<MatrixPart> {
        self.product().map(|product| product.matrix)
    }
    /// The weight matrix, to change its place in a stack.
    fn matrix_mut(&mut self) -> Option<&mut MatrixPart> {
        self.product_mut().map(|product| &mut product.matrix)
    }
    /// True if a step reads the whole matrix, false if only a row for each row of the step.
    fn reads_whole_matrix(&self) -> bool {
        true
    }
    /// The matrix product, if the kernel is one.
    fn product(&self) -> Option<&Projection> {
        None
    }
    /// The matrix product, to fuse other kernels into it.
    fn product_mut(&mut self) -> Option<&mut Projection> {
        None
    }
    /// Selects the strategy of a matrix-vector product, as far as its weight format allows.
    fn use_strategy(&mut self, _strategy: MatvecStrategy) {}
    /// Selects the tiling of a matrix product. Attention and the SSM scan choose their loads
    /// (`shaders/loads/`) by it.
    fn use_tiling(&mut self, _tiling: MatmulTiling) {}
    /// Name of the strategy or tiling in use, for reports.
    fn implementation(&self) -> Option<String> {
        None
    }
    /// Files that fill the shader's slots.
    fn imports(&self) -> Vec<Import> {
        Vec::new()
    }
    /// Values of the shader's `override`s, except those of the weight format.
    fn constants(&self) -> Vec<(&'static str, f64)>;
    /// Workgroups of a step; 0 on an axis if the step does not need the kernel.
    fn workgroups(&self, step: Step) -> [u32; 3];
    /// Multiplications and additions of a step, for kernels where they can be the bottleneck; else
    /// 0.
    fn operations(&self, step: Step) -> u64 {
        self.product().map_or(0, |product| product.operations(step))
    }
    /// CPU reference: runs the step in plain loops.
    fn reference(&self, memory: &mut CpuMemory, step: Step);
}

macro_rules! kernels {
    ($($kernel:ident),+ $(,)?) => {
        /// Every kernel, as data in a plan.
        #[derive(Debug, Clone)]
        pub enum Kernel {
            $(#[doc = concat!("See [`", stringify!($kernel), "`].")] $kernel($kernel)),+
        }

        $(impl From<$kernel> for Kernel {
            fn from(kernel: $kernel) -> Self {
                Kernel::$kernel(kernel)
            }
        })+

        /// Evaluates an expression of the kernel that the variant holds.
        macro_rules! of_kernel {
            ($self:expr, $inner:ident => $value:expr) => {
                match $self { $(Kernel::$kernel($inner) => $value),+ }
            };
        }

        impl Kernel {
            /// Name and shader text of every kernel.
            pub const ALL: &'static [(&'static str, &'static str)] =
                &[$((<$kernel as KernelRules>::NAME, <$kernel as KernelRules>::SHADER)),+];

            /// [`KernelRules::NAME`].
            pub fn name(&self) -> &'static str {
                match self { $(Kernel::$kernel(_) => <$kernel as KernelRules>::NAME),+ }
            }

            /// [`KernelRules::SHADER`].
            pub fn shader(&self) -> &'static str {
                match self { $(Kernel::$kernel(_) => <$kernel as KernelRules>::SHADER),+ }
            }
        }
    };
}

kernels! {
    Add, AdjustLogits, Attention, AttentionMerge, CacheStore, Elementwise, Embed, GateHeads, Glu,
    LastRow, LayerNorm, Matmul, Matvec, MeanRows, RmsNorm, Rope, Sample, ShortConv, SsmConv,
    SsmScan, SsmScores, SsmStep,
}

impl Kernel {
    /// [`KernelRules::bindings`].
    pub fn bindings(&self) -> Vec<Binding> {
        of_kernel!(self, kernel => kernel.bindings())
    }

    /// [`KernelRules::matrix`].
    pub fn matrix(&self) -> Option<MatrixPart> {
        of_kernel!(self, kernel => kernel.matrix())
    }

    /// [`KernelRules::matrix_mut`].
    pub(crate) fn matrix_mut(&mut self) -> Option<&mut MatrixPart> {
        of_kernel!(self, kernel => kernel.matrix_mut())
    }

    /// [`KernelRules::reads_whole_matrix`].
    pub fn reads_whole_matrix(&self) -> bool {
        of_kernel!(self, kernel => kernel.reads_whole_matrix())
    }

    /// [`KernelRules::product`].
    pub fn product(&self) -> Option<&Projection> {
        of_kernel!(self, kernel => kernel.product())
    }

    /// [`KernelRules::product_mut`].
    pub(crate) fn product_mut(&mut self) -> Option<&mut Projection> {
        of_kernel!(self, kernel => kernel.product_mut())
    }

    /// [`KernelRules::use_strategy`].
    pub(crate) fn use_strategy(&mut self, strategy: MatvecStrategy) {
        of_kernel!(self, kernel => kernel.use_strategy(strategy));
    }

    /// [`KernelRules::use_tiling`].
    pub(crate) fn use_tiling(&mut self, tiling: MatmulTiling) {
        of_kernel!(self, kernel => kernel.use_tiling(tiling));
    }

    /// [`KernelRules::implementation`].
    pub fn implementation(&self) -> Option<String> {
        of_kernel!(self, kernel => kernel.implementation())
    }

    /// [`KernelRules::imports`].
    pub fn imports(&self) -> Vec<Import> {
        of_kernel!(self, kernel => kernel.imports())
    }

    /// [`KernelRules::constants`], and those of the weight format.
    pub fn constants(&self) -> Vec<(&'static str, f64)> {
        let mut constants = of_kernel!(self, kernel => kernel.constants());
        constants.extend(self.matrix().iter().flat_map(|part| part.format.rules().constants()));
        constants
    }

    /// [`KernelRules::workgroups`].
    pub fn workgroups(&self, step: Step) -> [u32; 3] {
        of_kernel!(self, kernel => kernel.workgroups(step))
    }

    /// [`KernelRules::operations`].
    pub fn operations(&self, step: Step) -> u64 {
        of_kernel!(self, kernel => kernel.operations(step))
    }

    /// [`KernelRules::reference`].
    pub fn reference(&self, memory: &mut CpuMemory, step: Step) {
        of_kernel!(self, kernel => kernel.reference(memory, step));
    }

    /// Bytes of weights that a step of `rows` rows reads on the GPU.
    pub fn weight_bytes(&self, rows: u32) -> u64 {
        self.matrix().map_or(0, |part| match self.reads_whole_matrix() {
            true => part.size_bytes(),
            false => part.size_bytes() / u64::from(part.rows) * u64::from(rows),
        })
    }

    /// Label in profiles: name, stems of the imported files except `none`, and weight format.
    pub fn title(&self) -> String {
        let stem = |(_, file): Import| file.rsplit('/').next().unwrap_or(file);
        let files = self.imports().into_iter().map(stem).filter(|file| *file != "none");
        let format = self.matrix().map(|part| part.format.name());
        std::iter::once(self.name()).chain(files).chain(format).collect::<Vec<_>>().join(" ")
    }
}
