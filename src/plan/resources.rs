//! What all plans of a model share: weight matrices, weight vectors, tables and state.
//!
//! A model asks for what it needs while it writes its plan, by name and shape. What the file
//! lacks or has in another shape is collected here, so that one error names all of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Code, Error, Result};
use crate::formats::Format;
use crate::kernels::{Buffer, Cache, CacheFormat, CacheRows, MatrixPart, RotaryTable};

/// Missing tensors that an error names; a file of another model lacks hundreds.
const MAX_NAMED: usize = 64;
/// Parts of a matrix. What would need more has parts that no binding holds, as a check before the
/// upload finds.
const MAX_PARTS: u16 = 256;
/// Axes of a tensor's shape that are quoted.
const MAX_QUOTED_AXES: usize = 8;

/// Names, formats and shapes of a checkpoint's tensors: all that planning needs to know of it.
pub trait TensorShapes {
    /// Format and shape (outermost first) of the tensor, if there is one of that name.
    fn tensor(&self, name: &str) -> Option<(Format, &[usize])>;
}

/// A weight matrix of the model, by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matrix(pub(crate) u16);

/// A weight matrix: a tensor, or several stacked one above the other; and how it is split so that
/// every plane of a part fits one binding.
#[derive(Debug, Clone)]
pub struct MatrixInfo {
    /// The tensors in the checkpoint and how many rows each has, from the top.
    pub tensors: Vec<(String, u32)>,
    /// How its weights are held: as they are stored, or smaller.
    pub format: Format,
    /// Rows (outputs) of all tensors.
    pub rows: u32,
    /// Weights per row (inputs).
    pub columns: u32,
    /// Rows of every part but the last.
    pub rows_per_part: u32,
}

impl MatrixInfo {
    /// Its tensors' names.
    pub fn name(&self) -> String {
        self.tensors.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// How many parts there are.
    pub fn part_count(&self) -> u16 {
        // Of at most `MAX_PARTS`: no cast cuts.
        self.rows.div_ceil(self.rows_per_part) as u16
    }

    /// First row and row count of a part.
    pub fn part_rows(&self, part: u16) -> (u32, u32) {
        let first = u32::from(part) * self.rows_per_part;
        (first, self.rows_per_part.min(self.rows - first))
    }

    /// Bytes of each plane of a part, on the GPU.
    pub fn plane_bytes(&self, part: u16) -> Vec<u64> {
        let rows = u64::from(self.part_rows(part).1);
        let row_bytes = self.format.rules().plane_row_bytes(self.columns as usize);
        row_bytes.into_iter().map(|bytes| bytes as u64 * rows).collect()
    }

    /// Bytes of the whole matrix on the GPU.
    pub fn size_bytes(&self) -> u64 {
        (0..self.part_count()).flat_map(|part| self.plane_bytes(part)).sum()
    }
}

/// How a tensor's values become those of a shared vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transform {
    /// They stay as they are.
    None,
    /// `1 + x`: a norm's weight that is stored by its distance from one.
    PlusOne,
    /// `-e^x`: the decay of a recurrent layer, stored as a logarithm.
    MinusExp,
}

impl Transform {
    /// The value for a stored one; finite for a finite one.
    pub fn apply(self, x: f32) -> f32 {
        match self {
            Transform::None => x,
            Transform::PlusOne => 1.0 + x,
            Transform::MinusExp => (-x.exp()).max(f32::MIN),
        }
    }
}

/// A tensor in a shared vector.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorPart {
    /// The tensor in the checkpoint.
    pub tensor: String,
    /// Its shape, outermost first; axes of length 1 do not count.
    pub shape: Vec<u32>,
    /// What is done to its values.
    pub transform: Transform,
}

impl VectorPart {
    /// The tensor of that name and shape, as it is.
    pub fn new(tensor: impl Into<String>, shape: &[u32]) -> Self {
        Self { tensor: tensor.into(), shape: shape.to_vec(), transform: Transform::None }
    }

    /// The same, its values transformed.
    pub fn transformed(self, transform: Transform) -> Self {
        Self { transform, ..self }
    }

    fn words(&self) -> u64 {
        self.shape.iter().fold(1, |words, axis| words.saturating_mul(u64::from(*axis)))
    }
}

/// How far back a sequence can be cut without reading it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateKind {
    /// A row for each position: after any of them.
    Positions(CacheRows),
    /// All that came before, in one: only at its end, or at its beginning.
    Recurrent,
}

/// What a shared buffer holds, and so how it is filled.
#[derive(Debug, Clone, PartialEq)]
pub enum SharedRole {
    /// Token ids of the step.
    Tokens,
    /// Tensors of the checkpoint, one after another, as f32.
    Vector(Vec<VectorPart>),
    /// Computed at load.
    RotaryTable(RotaryTable),
    /// How tokens are chosen: written by the host when a request begins.
    Sampling,
    /// What a sequence carries from step to step; zero at its beginning.
    State(StateKind),
}

/// A buffer that all plans of a model share.
#[derive(Debug, Clone)]
pub struct SharedBuffer {
    /// Its name; for a vector, the tensors'.
    pub name: String,
    /// Its length in 4-byte words.
    pub words: u64,
    /// What it holds.
    pub role: SharedRole,
}

/// Everything that the plans of a model share.
pub struct Resources<'a> {
    shapes: &'a dyn TensorShapes,
    quantize: Option<Format>,
    cache_format: CacheFormat,
    max_binding_bytes: u64,
    matrices: Vec<MatrixInfo>,
    /// Indices of matrices by the names they were asked for.
    matrix_of: BTreeMap<String, u16>,
    shared: Vec<SharedBuffer>,
    /// Indices of shared buffers by name, which a few may have in common.
    shared_of: BTreeMap<String, Vec<u16>>,
    problems: Vec<String>,
    /// Whether there were more of something than indices.
    is_full: bool,
}

impl<'a> Resources<'a> {
    /// None yet. Matrices will be split so that no plane of a part exceeds `max_binding_bytes`;
    /// caches are in f32.
    pub fn new(shapes: &'a dyn TensorShapes, max_binding_bytes: u64) -> Self {
        Self {
            shapes,
            quantize: None,
            cache_format: CacheFormat::F32,
            max_binding_bytes,
            matrices: Vec::new(),
            matrix_of: BTreeMap::new(),
            shared: Vec::new(),
            shared_of: BTreeMap::new(),
            problems: Vec::new(),
            is_full: false,
        }
    }

    /// Turns the matrices that will be asked for into this format where that makes them smaller.
    pub fn quantize(self, wanted: Option<Format>) -> Self {
        Self { quantize: wanted, ..self }
    }

    /// Keeps the keys and values that will be asked for in this format.
    pub fn cache_in(self, cache_format: CacheFormat) -> Self {
        Self { cache_format, ..self }
    }

    /// How keys and values are kept.
    pub fn cache_format(&self) -> CacheFormat {
        self.cache_format
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
            MatrixPart { matrix: matrix.0, part, format, above: 0, first_row, rows, columns }
        };
        (0..info.part_count()).map(part).collect()
    }

    /// Stacks matrices, given from the top, into one each; says for every matrix which it is in
    /// now, and how many rows are above it there.
    pub(super) fn stack(&mut self, stacks: &[Vec<u16>]) -> Vec<(u16, u32)> {
        let mut places = vec![(0, 0); self.matrices.len()];
        let below: BTreeSet<u16> = stacks.iter().flat_map(|stack| &stack[1..]).copied().collect();
        let stacks: BTreeMap<u16, &[u16]> =
            stacks.iter().map(|stack| (stack[0], &stack[1..])).collect();
        let tops = (0..=u16::MAX).take(self.matrices.len()).filter(|index| !below.contains(index));
        let mut matrices = Vec::new();
        for (place, top) in (0..=u16::MAX).zip(tops) {
            let mut stacked = self.matrices[usize::from(top)].clone();
            places[usize::from(top)] = (place, 0);
            for index in stacks.get(&top).into_iter().copied().flatten() {
                let below = &self.matrices[usize::from(*index)];
                places[usize::from(*index)] = (place, stacked.rows);
                stacked.tensors.extend(below.tensors.iter().cloned());
                stacked.rows += below.rows;
                stacked.rows_per_part = stacked.rows;
            }
            matrices.push(stacked);
        }
        self.matrices = matrices;
        places
    }

    /// The matrix of that tensor name and shape `[rows, columns]`.
    pub fn weight_matrix(&mut self, tensor: &str, rows: u32, columns: u32) -> Matrix {
        if let Some(index) = self.matrix_of.get(tensor) {
            return Matrix(*index);
        }
        let (format, rows_per_part) = match self.check(tensor, &[rows as usize, columns as usize]) {
            Some(stored) => {
                let format = stored.held_as(self.quantize, columns as usize);
                (format, self.rows_per_part(format, rows, columns))
            }
            // Of a size that nothing but a number in the file has said.
            None => (Format::F32, rows),
        };
        let tensors = vec![(tensor.to_owned(), rows)];
        let index = self.index(self.matrices.len());
        self.matrix_of.insert(tensor.to_owned(), index);
        self.matrices.push(MatrixInfo { tensors, format, rows, columns, rows_per_part });
        Matrix(index)
    }

    /// Rows of every part but the last of a matrix.
    fn rows_per_part(&self, format: Format, rows: u32, columns: u32) -> u32 {
        match self.fitting_rows(format, columns) {
            fitting if fitting >= rows => rows,
            // Whole tiles of a matrix product, so that only the last part has an edge.
            fitting => (fitting / 64 * 64).max(rows.div_ceil(MAX_PARTS.into())),
        }
    }

    /// Rows of a matrix whose planes one binding can hold.
    pub(super) fn fitting_rows(&self, format: Format, columns: u32) -> u32 {
        let widest =
            format.rules().plane_row_bytes(columns as usize).into_iter().max().unwrap_or(4);
        (self.max_binding_bytes / widest as u64).min(u64::from(u32::MAX)) as u32
    }

    /// The tensor of that name and length, as f32.
    pub fn weight_vector(&mut self, tensor: &str, length: u32) -> Buffer {
        self.packed_vector(vec![VectorPart::new(tensor, &[length])])
    }

    /// Several tensors one after another, or one that is transformed, as f32.
    pub fn packed_vector(&mut self, parts: Vec<VectorPart>) -> Buffer {
        let words = parts.iter().fold(0, |sum: u64, part| sum.saturating_add(part.words()));
        let name = parts.iter().map(|part| part.tensor.as_str()).collect::<Vec<_>>().join(", ");
        let role = SharedRole::Vector(parts);
        if let Some(found) = self.find(&name, |buffer| buffer.role == role) {
            return found;
        }
        if let SharedRole::Vector(parts) = &role {
            for part in parts {
                self.check_part(part);
            }
        }
        self.add(SharedBuffer { name, words, role })
    }

    /// Vectors one after another, as f32.
    pub(super) fn joined_vector(&mut self, vectors: &[Buffer]) -> Option<Buffer> {
        let mut joined = Vec::new();
        for vector in vectors {
            let Buffer::Shared(index) = vector else { return None };
            let SharedRole::Vector(parts) = &self.shared[usize::from(*index)].role else {
                return None;
            };
            joined.extend(parts.iter().cloned());
        }
        Some(self.packed_vector(joined))
    }

    /// The table of rotary positions, made at load from what `table` says.
    pub fn rotary_table(&mut self, table: RotaryTable) -> Buffer {
        let (words, role) = (table.words(), SharedRole::RotaryTable(table));
        let name = "rotary positions";
        let found = self.find(name, |buffer| buffer.role == role);
        found.unwrap_or_else(|| self.add(SharedBuffer { name: name.to_owned(), words, role }))
    }

    /// Keys or values of a layer, a row of that width for each position.
    pub fn cache(&mut self, name: &str, width: u32, context_length: u32) -> Cache {
        let rows = CacheRows { format: self.cache_format, width };
        let words = u64::from(context_length) * rows.words();
        let buffer = self.get_or_add(name, words, SharedRole::State(StateKind::Positions(rows)));
        Cache { buffer, rows }
    }

    /// A part of what a sequence carries, that holds all that came before.
    pub fn recurrent_state(&mut self, name: &str, words: u64) -> Buffer {
        self.get_or_add(name, words, SharedRole::State(StateKind::Recurrent))
    }

    /// Indices of the shared buffers that a sequence carries from step to step, and of which kind
    /// they are.
    pub fn state_buffers(&self) -> impl Iterator<Item = (usize, StateKind)> {
        self.shared.iter().enumerate().filter_map(|(index, buffer)| match buffer.role {
            SharedRole::State(kind) => Some((index, kind)),
            _ => None,
        })
    }

    /// Whether a part of what a sequence carries cannot be cut.
    pub fn is_recurrent(&self) -> bool {
        self.shared.iter().any(|buffer| buffer.role == SharedRole::State(StateKind::Recurrent))
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

    /// A buffer for the choice of tokens.
    pub(super) fn sampling(&mut self, name: &str, words: u64) -> Buffer {
        self.get_or_add(name, words, SharedRole::Sampling)
    }

    /// Every tensor that was asked for.
    pub fn tensors(&self) -> impl Iterator<Item = &str> {
        let parts = self.shared.iter().filter_map(|buffer| match &buffer.role {
            SharedRole::Vector(parts) => Some(parts),
            _ => None,
        });
        let vectors = parts.flatten().map(|part| part.tensor.as_str());
        let divisors = self.shared.iter().filter_map(|buffer| match &buffer.role {
            SharedRole::RotaryTable(table) => table.divisors.as_deref(),
            _ => None,
        });
        let matrices = self.matrices.iter().flat_map(|matrix| &matrix.tensors);
        matrices.map(|(name, _)| name.as_str()).chain(vectors).chain(divisors)
    }

    /// `missing-tensors`, naming everything that was asked for and is not there as asked.
    pub fn check_complete(&self, file: &str) -> Result<()> {
        if self.is_full {
            let message = format!("{file}: a plan of more than {} buffers", u16::MAX);
            return Err(Error::new(Code::UnsupportedFormat, message));
        }
        if self.problems.is_empty() {
            return Ok(());
        }
        let named = self.problems.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>().join("; ");
        let more = self.problems.len().saturating_sub(MAX_NAMED);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        Err(Error::new(Code::MissingTensors, format!("{file}: {named}{more}")))
    }

    /// The index of what comes after so many; where indices end, [`Resources::check_complete`] says so.
    pub(super) fn index(&mut self, count: usize) -> u16 {
        u16::try_from(count).unwrap_or_else(|_| {
            self.is_full = true;
            u16::MAX
        })
    }

    fn find(&self, name: &str, is_wanted: impl Fn(&SharedBuffer) -> bool) -> Option<Buffer> {
        let mut named = self.shared_of.get(name)?.iter();
        named
            .find(|index| is_wanted(&self.shared[usize::from(**index)]))
            .map(|index| Buffer::Shared(*index))
    }

    fn get_or_add(&mut self, name: &str, words: u64, role: SharedRole) -> Buffer {
        let found = self.find(name, |_| true);
        found.unwrap_or_else(|| self.add(SharedBuffer { name: name.to_owned(), words, role }))
    }

    fn add(&mut self, buffer: SharedBuffer) -> Buffer {
        let index = self.index(self.shared.len());
        self.shared_of.entry(buffer.name.clone()).or_default().push(index);
        self.shared.push(buffer);
        Buffer::Shared(index)
    }

    /// Notes a problem if the tensor is not there with that shape, but for axes of length 1:
    /// files disagree about those.
    fn check_part(&mut self, part: &VectorPart) {
        let long =
            |shape: &[usize]| shape.iter().copied().filter(|axis| *axis != 1).collect::<Vec<_>>();
        let expected: Vec<usize> = part.shape.iter().map(|axis| *axis as usize).collect();
        let found = self.shapes.tensor(&part.tensor).map(|(_, shape)| shape);
        if found.is_none_or(|found| long(found) != long(&expected)) {
            self.check(&part.tensor, &expected);
        }
    }

    /// The tensor's format; none, and a problem is noted, if it is not there with that shape.
    fn check(&mut self, tensor: &str, shape: &[usize]) -> Option<Format> {
        match self.shapes.tensor(tensor) {
            None => self.problems.push(format!("{tensor} is missing, expected shape {shape:?}")),
            Some((format, found)) if found == shape => return Some(format),
            Some((_, found)) if found.len() > MAX_QUOTED_AXES => {
                let axes = found.len();
                self.problems.push(format!("{tensor} has {axes} axes, expected shape {shape:?}"));
            }
            Some((_, found)) => {
                self.problems.push(format!("{tensor} has shape {found:?}, expected {shape:?}"));
            }
        }
        None
    }
}
