//! Kernels: one unit each, `shaders/<name>.wgsl` and `src/kernels/<name>.rs` of the same name.
//!
//! A kernel's file says which buffers it binds, which constants its shader takes, how many
//! workgroups it needs, and what it means: [`KernelRules::reference`], plain loops on the CPU
//! over the stored weights, accumulating in `f64`. Nothing here knows an executor.

mod cache;
mod epilogue;
mod heads;
mod memory;
mod projection;
mod prologue;
mod sampling;
mod ssm;

mod add;
mod attention;
mod attention_merge;
mod cache_store;
mod candidates;
mod elementwise;
mod embed;
mod gated_activation;
mod last_row;
mod layer_norm;
mod matmul;
mod matvec;
mod pick;
mod rms_norm;
mod rope;
mod ssm_conv;
mod ssm_scan;
mod ssm_scores;
mod ssm_step;
mod tile;
mod variant;

pub use add::Add;
pub use attention::{Attention, AttentionShape};
pub use attention_merge::AttentionMerge;
pub use cache::{Cache, CacheFormat, CacheRows};
pub use cache_store::CacheStore;
pub use candidates::Candidates;
pub use elementwise::{Elementwise, Function};
pub use embed::Embed;
pub(crate) use epilogue::Written;
pub use epilogue::{Epilogue, Weighted};
pub use gated_activation::GatedActivation;
pub use heads::Heads;
pub use last_row::LastRow;
pub use layer_norm::LayerNorm;
pub use matmul::Matmul;
pub use matvec::Matvec;
pub use memory::{CpuMatrix, CpuMemory};
pub use pick::Pick;
pub use projection::Projection;
pub use prologue::Prologue;
pub use rms_norm::RmsNorm;
pub use rope::{Pairing, Rope, RotaryTable, Turn};
pub use sampling::{Picked, Sampling, SamplingBuffers};
pub use ssm::{ScanBuffers, ScanShape};
pub(crate) use ssm::{ScanRow, softplus};
pub use ssm_conv::SsmConv;
pub use ssm_scan::SsmScan;
pub use ssm_scores::SsmScores;
pub use ssm_step::SsmStep;
pub use tile::Tile;
pub use variant::Variant;

use crate::formats::{Format, UNIT};

/// What changes from step to step; the only uniform. Mirrored in `shaders/lib/step.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Step {
    /// Position in the sequence of the step's first row.
    pub position: u32,
    /// Rows in this step.
    pub rows: u32,
}

/// A buffer that a plan names: 4-byte words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Buffer {
    /// Activations, local to one plan; may share memory with others of that plan.
    Scratch(u16),
    /// Weights, tables, inputs and state: one for all plans of a model.
    Shared(u16),
}

/// How many rows an activation has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rows {
    /// As many as the step.
    Step,
    /// One, whatever the step.
    One,
}

impl Rows {
    /// The count in a step of `step_rows`.
    pub fn count(self, step_rows: u32) -> u32 {
        match self {
            Rows::Step => step_rows,
            Rows::One => 1,
        }
    }
}

/// A buffer of rows, `width` words each and `stride` words apart.
/// Strides are whole units, so that a shader may read four words at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Activation {
    /// Where it lies.
    pub buffer: Buffer,
    /// How many rows it has.
    pub rows: Rows,
    /// Words of the row.
    pub width: u32,
    /// Words from row to row.
    pub stride: u32,
}

impl Activation {
    /// The stride of rows of `width` words.
    pub fn stride_of(width: u32) -> u32 {
        width.next_multiple_of(UNIT as u32)
    }

    /// The same rows elsewhere, with so many sums behind the columns, then zeros.
    pub fn with_sums(self, buffer: Buffer, sums: u32) -> Self {
        Self { buffer, stride: Self::stride_of(self.width) + Self::stride_of(sums), ..self }
    }

    /// Words behind the columns, past their last unit.
    pub fn sums(&self) -> u32 {
        self.stride - Self::stride_of(self.width)
    }

    /// Words of all rows, in a plan for `capacity` rows.
    pub fn words(&self, capacity: u32) -> u64 {
        u64::from(self.rows.count(capacity)) * u64::from(self.stride)
    }

    /// Index of the row's first word.
    pub fn start(&self, row: u32) -> usize {
        row as usize * self.stride as usize
    }
}

/// Rows `first_row .. first_row + rows` of a tensor: what one binding can hold. A matrix is one
/// tensor, bound whole or in parts, or several that are stacked and bound together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MatrixPart {
    /// Index of the matrix among the model's resources.
    pub matrix: u16,
    /// Index of the part in the matrix.
    pub part: u16,
    /// How its weights are stored.
    pub format: Format,
    /// Rows of the tensors above it where it is stacked.
    pub above: u32,
    /// First row in its tensor.
    pub first_row: u32,
    /// Rows of this part.
    pub rows: u32,
    /// Weights per row.
    pub columns: u32,
}

impl MatrixPart {
    /// Bytes of its planes.
    pub fn size_bytes(&self) -> u64 {
        let row_bytes = self.format.rules().plane_row_bytes(self.columns as usize);
        u64::from(self.rows) * row_bytes.into_iter().sum::<usize>() as u64
    }
}

/// A buffer as a kernel binds it, in `@binding` order from 1 (0 is the [`Step`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// The buffer.
    pub buffer: Buffer,
    /// Whether the kernel writes it.
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

/// A slot of a shader, and the file of `shaders/` that fills it, both as `#import` names them.
pub type Import = (&'static str, &'static str);

/// What a kernel's file has to say.
pub trait KernelRules {
    /// The file stem of shader and kernel, and the label in profiles.
    const NAME: &'static str;
    /// The shader's text, imports unresolved.
    const SHADER: &'static str;
    /// Buffers in `@binding` order, from binding 1 of group 0.
    fn bindings(&self) -> Vec<Binding>;
    /// The weight matrix in group 1.
    fn matrix(&self) -> Option<MatrixPart> {
        None
    }
    /// What fills the shader's slots.
    fn imports(&self) -> Vec<Import> {
        Vec::new()
    }
    /// Values of the shader's `override`s, all of them but the weight format's own.
    fn constants(&self) -> Vec<(&'static str, f64)>;
    /// Workgroups for a step; none on an axis, and the step does without the kernel.
    fn workgroups(&self, step: Step) -> [u32; 3];
    /// Multiplications and additions of a step, for kernels of which these are worth counting.
    fn operations(&self, _step: Step) -> u64 {
        0
    }
    /// What the kernel means.
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
            /// [`KernelRules::bindings`].
            pub fn bindings(&self) -> Vec<Binding> {
                match self { $(Kernel::$kernel(kernel) => kernel.bindings()),+ }
            }
            /// [`KernelRules::matrix`].
            pub fn matrix(&self) -> Option<MatrixPart> {
                match self { $(Kernel::$kernel(kernel) => kernel.matrix()),+ }
            }
            /// The weight matrix, to change where it lies.
            pub(crate) fn matrix_mut(&mut self) -> Option<&mut MatrixPart> {
                match self {
                    Kernel::Embed(kernel) => Some(&mut kernel.matrix),
                    Kernel::Matmul(Matmul { product, .. }) | Kernel::Matvec(Matvec { product, .. }) => {
                        Some(&mut product.matrix)
                    }
                    _ => {
                        debug_assert!(self.matrix().is_none(), "{}", self.name());
                        None
                    }
                }
            }
            /// [`KernelRules::imports`].
            pub fn imports(&self) -> Vec<Import> {
                match self { $(Kernel::$kernel(kernel) => kernel.imports()),+ }
            }
            /// [`KernelRules::constants`], and those of the weight format.
            pub fn constants(&self) -> Vec<(&'static str, f64)> {
                let mut constants = match self { $(Kernel::$kernel(kernel) => kernel.constants()),+ };
                constants.extend(self.matrix().iter().flat_map(|part| part.format.rules().constants()));
                constants
            }
            /// [`KernelRules::workgroups`].
            pub fn workgroups(&self, step: Step) -> [u32; 3] {
                match self { $(Kernel::$kernel(kernel) => kernel.workgroups(step)),+ }
            }
            /// [`KernelRules::operations`].
            pub fn operations(&self, step: Step) -> u64 {
                match self { $(Kernel::$kernel(kernel) => kernel.operations(step)),+ }
            }
            /// [`KernelRules::reference`].
            pub fn reference(&self, memory: &mut CpuMemory, step: Step) {
                match self { $(Kernel::$kernel(kernel) => kernel.reference(memory, step)),+ }
            }
        }
    };
}

kernels! {
    Add, Attention, AttentionMerge, CacheStore, Candidates, Elementwise, Embed, GatedActivation, LastRow,
    LayerNorm, Matmul, Matvec, Pick, RmsNorm, Rope, SsmConv, SsmScan, SsmScores, SsmStep,
}

macro_rules! pieces {
    ($($name:literal),+ $(,)?) => {
        /// Names of the importable pieces.
        pub const SHADER_PIECES: &[&str] = &[$($name),+];

        impl Kernel {
    /// Name, files in the shader's slots but for `none`, and weight format, for people.
    pub fn title(&self) -> String {
        let files = self.imports().into_iter().map(|(_, file)| file.rsplit('/').next().unwrap_or(file));
        let files = files.filter(|file| *file != "none");
        let format = self.matrix().map(|part| part.format.name());
        std::iter::once(self.name()).chain(files).chain(format).collect::<Vec<_>>().join(" ")
    }
}

/// The text of an importable piece, e.g. `lib/step`.
        pub fn shader_piece(name: &str) -> Option<&'static str> {
            Some(match name {
                $($name => include_str!(concat!("../../shaders/", $name, ".wgsl")),)+
                _ => return None,
            })
        }
    };
}

pieces! {
    "biases/none",
    "biases/vector",
    "caches/f16",
    "caches/f16_pairs",
    "caches/f16_store",
    "caches/f32",
    "caches/f32_pairs",
    "caches/f32_store",
    "caches/q8",
    "caches/q8_store",
    "epilogues/add",
    "epilogues/add_squares",
    "epilogues/best",
    "epilogues/function",
    "epilogues/gate",
    "epilogues/head_squares",
    "epilogues/head_store",
    "epilogues/heads",
    "epilogues/store",
    "epilogues/unit_squares",
    "epilogues/unit_store",
    "f16/halves",
    "lib/bytes32",
    "lib/dot32",
    "lib/function",
    "lib/halves",
    "lib/noise",
    "lib/products",
    "lib/quads",
    "lib/reduce",
    "lib/sampling",
    "lib/splits",
    "lib/ssm",
    "lib/step",
    "lib/tanh",
    "lib/weights32",
    "products/packed",
    "products/pairs",
    "prologues/plain",
    "prologues/rms",
    "prologues/rms_by_parts",
    "subgroups/eighths",
    "subgroups/inputs",
    "subgroups/pairs",
    "subgroups/place",
    "subgroups/shared_rows",
    "subgroups/shared_vectors",
    "subgroups/total",
    "tiles/registers",
    "tiles/staged",
    "variants/alone",
    "variants/inputs",
    "variants/own_rows",
    "variants/own_vectors",
    "variants/together",
}
