//! What all plans of a model share: weight matrices, weight vectors, tables and state.
//!
//! A model asks for what it needs while it writes its plan, by name and shape. What the file
//! lacks or has in another shape is collected here, so that one error names all of it.

use crate::error::{Code, Error, Result};
use crate::formats::Format;
use crate::kernels::{Buffer, MatrixPart, RotaryTable};

/// Missing tensors that an error names; a file of another model lacks hundreds.
const MAX_NAMED: usize = 64;

/// Names, formats and shapes of a checkpoint's tensors: all that planning needs to know of it.
pub trait TensorShapes {
    /// Format and shape (outermost first) of the tensor, if there is one of that name.
    fn tensor(&self, name: &str) -> Option<(Format, &[usize])>;
}

/// A weight matrix of the model, by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matrix(pub(crate) u16);

/// A weight matrix and how it is split so that every plane of a part fits one binding.
#[derive(Debug, Clone)]
pub struct MatrixInfo {
    /// The tensor in the checkpoint.
    pub tensor: String,
    /// How its weights are stored.
    pub format: Format,
    /// Rows (outputs).
    pub rows: u32,
    /// Weights per row (inputs).
    pub columns: u32,
    /// Rows of every part but the last.
    pub rows_per_part: u32,
}

impl MatrixInfo {
    /// How many parts there are.
    pub fn part_count(&self) -> usize {
        self.rows.div_ceil(self.rows_per_part) as usize
    }

    /// First row and row count of a part.
    pub fn part_rows(&self, part: usize) -> (u32, u32) {
        let first = part as u32 * self.rows_per_part;
        (first, self.rows_per_part.min(self.rows - first))
    }

    /// Bytes of each plane of a part, on the GPU.
    pub fn plane_bytes(&self, part: usize) -> Vec<u64> {
        let rows = u64::from(self.part_rows(part).1);
        let row_bytes = self.format.rules().plane_row_bytes(self.columns as usize);
        row_bytes.into_iter().map(|bytes| bytes as u64 * rows).collect()
    }

    /// Bytes of all planes of a part.
    pub fn part_bytes(&self, part: usize) -> u64 {
        self.plane_bytes(part).iter().sum()
    }

    /// Bytes of the whole matrix on the GPU.
    pub fn size_bytes(&self) -> u64 {
        (0..self.part_count()).map(|part| self.part_bytes(part)).sum()
    }
}

/// What a shared buffer holds, and so how it is filled.
#[derive(Debug, Clone, PartialEq)]
pub enum SharedRole {
    /// Token ids of the step.
    Tokens,
    /// A tensor of the checkpoint, as f32.
    Vector,
    /// Computed at load.
    RotaryTable(RotaryTable),
    /// What a sequence carries from step to step; zero at its beginning.
    State,
}

/// A buffer that all plans of a model share.
#[derive(Debug, Clone)]
pub struct SharedBuffer {
    /// Its name; for a vector, the tensor's.
    pub name: String,
    /// Its length in 4-byte words.
    pub words: u64,
    /// What it holds.
    pub role: SharedRole,
}

/// Everything that the plans of a model share.
pub struct Resources<'a> {
    shapes: &'a dyn TensorShapes,
    max_binding_bytes: u64,
    matrices: Vec<MatrixInfo>,
    shared: Vec<SharedBuffer>,
    problems: Vec<String>,
}

impl<'a> Resources<'a> {
    /// None yet. Matrices will be split so that no plane of a part exceeds `max_binding_bytes`.
    pub fn new(shapes: &'a dyn TensorShapes, max_binding_bytes: u64) -> Self {
        Self { shapes, max_binding_bytes, matrices: Vec::new(), shared: Vec::new(), problems: Vec::new() }
    }

    /// Weight matrices, in the order in which they were asked for.
    pub fn matrices(&self) -> &[MatrixInfo] {
        &self.matrices
    }

    /// Shared buffers, in the order in which they were asked for.
    pub fn shared(&self) -> &[SharedBuffer] {
        &self.shared
    }

    pub(crate) fn matrix(&self, index: u16) -> &MatrixInfo {
        &self.matrices[usize::from(index)]
    }

    /// The bindable parts of a matrix.
    pub fn parts(&self, matrix: Matrix) -> Vec<MatrixPart> {
        let info = self.matrix(matrix.0);
        let part = |part| {
            let (first_row, rows) = info.part_rows(part);
            let (format, columns) = (info.format, info.columns);
            MatrixPart { matrix: matrix.0, part: part as u16, format, first_row, rows, columns }
        };
        (0..info.part_count()).map(part).collect()
    }

    /// The matrix of that tensor name and shape `[rows, columns]`.
    pub fn weight_matrix(&mut self, tensor: &str, rows: u32, columns: u32) -> Matrix {
        if let Some(index) = self.matrices.iter().position(|matrix| matrix.tensor == tensor) {
            return Matrix(index as u16);
        }
        let format = self.check(tensor, &[rows as usize, columns as usize]);
        let widest = format.rules().plane_row_bytes(columns as usize).into_iter().max().unwrap_or(4);
        // Whole tiles of a matrix product, so that only the last part has an edge.
        let fitting = (self.max_binding_bytes / widest as u64).min(u64::from(u32::MAX)) as u32;
        let rows_per_part = if fitting >= rows { rows } else { (fitting / 64 * 64).max(1) };
        let tensor = tensor.to_owned();
        self.matrices.push(MatrixInfo { tensor, format, rows, columns, rows_per_part });
        Matrix((self.matrices.len() - 1) as u16)
    }

    /// The tensor of that name and length, as f32.
    pub fn weight_vector(&mut self, tensor: &str, length: u32) -> Buffer {
        if self.find(tensor).is_none() {
            self.check(tensor, &[length as usize]);
        }
        self.get_or_add(tensor, u64::from(length), SharedRole::Vector)
    }

    /// The table of rotary positions, made at load from what `table` says.
    pub fn rotary_table(&mut self, table: impl FnOnce() -> RotaryTable) -> Buffer {
        let name = "rotary positions";
        self.find(name).unwrap_or_else(|| {
            let table = table();
            self.get_or_add(name, table.words(), SharedRole::RotaryTable(table))
        })
    }

    /// A part of what a sequence carries.
    pub fn state(&mut self, name: &str, words: u64) -> Buffer {
        self.get_or_add(name, words, SharedRole::State)
    }

    /// The step's token ids, for plans of up to `capacity` rows.
    pub fn tokens(&mut self, capacity: u32) -> Buffer {
        let buffer = self.get_or_add("tokens", u64::from(capacity), SharedRole::Tokens);
        if let Buffer::Shared(index) = buffer {
            let words = &mut self.shared[usize::from(index)].words;
            *words = (*words).max(u64::from(capacity));
        }
        buffer
    }

    /// Every tensor that was asked for.
    pub fn tensors(&self) -> impl Iterator<Item = &str> {
        let shared = self.shared.iter().filter_map(|buffer| match &buffer.role {
            SharedRole::Vector => Some(buffer.name.as_str()),
            SharedRole::RotaryTable(table) => table.divisors.as_deref(),
            SharedRole::State | SharedRole::Tokens => None,
        });
        self.matrices.iter().map(|matrix| matrix.tensor.as_str()).chain(shared)
    }

    /// `missing-tensors`, naming everything that was asked for and is not there as asked.
    pub fn check_complete(&self, file: &str) -> Result<()> {
        if self.problems.is_empty() {
            return Ok(());
        }
        let named = self.problems.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>().join("; ");
        let more = self.problems.len().saturating_sub(MAX_NAMED);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        Err(Error::new(Code::MissingTensors, format!("{file}: {named}{more}")))
    }

    fn find(&self, name: &str) -> Option<Buffer> {
        self.shared.iter().position(|buffer| buffer.name == name).map(|index| Buffer::Shared(index as u16))
    }

    fn get_or_add(&mut self, name: &str, words: u64, role: SharedRole) -> Buffer {
        if let Some(buffer) = self.find(name) {
            return buffer;
        }
        self.shared.push(SharedBuffer { name: name.to_owned(), words, role });
        Buffer::Shared((self.shared.len() - 1) as u16)
    }

    /// The tensor's format; notes a problem if it is not there with that shape.
    fn check(&mut self, tensor: &str, shape: &[usize]) -> Format {
        match self.shapes.tensor(tensor) {
            None => {
                self.problems.push(format!("{tensor} is missing, expected shape {shape:?}"));
                Format::F32
            }
            Some((format, found)) => {
                if found != shape {
                    self.problems.push(format!("{tensor} has shape {found:?}, expected {shape:?}"));
                }
                format
            }
        }
    }
}
