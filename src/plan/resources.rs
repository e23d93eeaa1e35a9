//! Resources common to all plans of a model: weight matrices, weight vectors, tables and state.
//!
//! A model requests them by name and shape while it writes its plan. Tensors that the file lacks or
//! has in another shape are collected, so that one error names all of them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Transform, VectorPart};
use crate::error::{Code, Error, Result};
use crate::formats::Format;
use crate::kernels::{Buffer, Cache, CacheFormat, CacheRows, MatrixPart, Ring, RotaryTable};

/// Largest number of tensors that an error names; a file of another model lacks hundreds.
const MAX_NAMED: usize = 64;
/// Largest number of parts of a matrix. If more would be needed, parts are larger than a binding,
/// which the check before the upload rejects.
const MAX_PARTS: u16 = 256;
/// Largest number of axes of a shape that an error quotes.
const MAX_QUOTED_AXES: usize = 8;

/// Names, formats and shapes of the tensors of a checkpoint.
pub trait TensorShapes {
    /// Returns format and shape, outermost axis first, of the tensor of that name.
    fn tensor(&self, name: &str) -> Option<(Format, &[usize])>;
}

/// Index of a weight matrix of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matrix(pub(crate) u16);

/// Weights of a matrix product, with or without a bias.
#[derive(Debug, Clone, Copy)]
pub struct Linear {
    /// `[outputs, inputs]`.
    pub weight: Matrix,
    /// `[outputs]`.
    pub bias: Option<Buffer>,
}

/// A weight matrix, one tensor or several stacked ones, in parts of which every plane fits one
/// binding.
#[derive(Debug, Clone)]
pub struct MatrixInfo {
    /// Names and row counts of the tensors, in the order of the rows.
    pub tensors: Vec<(String, u32)>,
    /// Format in memory: that of the file, or a smaller one.
    pub format: Format,
    /// Rows (outputs) of all tensors.
    pub rows: u32,
    /// Weights per row (inputs).
    pub columns: u32,
    /// Rows of every part but the last.
    pub rows_per_part: u32,
}

impl MatrixInfo {
    /// Names of its tensors, for messages.
    pub fn name(&self) -> String {
        self.tensors.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Number of parts.
    pub fn part_count(&self) -> u16 {
        // At most `MAX_PARTS`.
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

/// Kind of state that a sequence carries, which decides where it can be truncated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateKind {
    /// A row for each position: can be truncated after any. In a ring, a row for each of the last
    /// positions: can be truncated where [`Ring::holds`] says so.
    Positions(CacheRows),
    /// A summary of all positions so far: can only be continued or cleared.
    Recurrent,
}

impl StateKind {
    /// True if a sequence can be truncated after any position.
    pub fn is_truncatable(self) -> bool {
        matches!(self, StateKind::Positions(CacheRows { ring: None, .. }))
    }
}

/// Contents of a shared buffer.
#[derive(Debug, Clone, PartialEq)]
pub enum SharedRole {
    /// Token ids of the step.
    Tokens,
    /// Tensors of the checkpoint, one after another, as `f32`.
    Vector(Vec<VectorPart>),
    /// Table of rotary positions, computed at load.
    RotaryTable(RotaryTable),
    /// Sampling parameters and results; the host writes them when a request begins.
    Sampling,
    /// State of the sequence, zero at its beginning.
    State(StateKind),
    /// Copy of the state buffer of that index, which a sequence goes back to.
    Snapshot(u16),
}

/// A buffer common to all plans of a model.
#[derive(Debug, Clone)]
pub struct SharedBuffer {
    /// Name, for messages; of a vector, the names of its tensors.
    pub name: String,
    /// Length in 4-byte words.
    pub words: u64,
    /// Contents.
    pub role: SharedRole,
}

/// Resources common to the plans of a model.
pub struct Resources<'a> {
    shapes: &'a dyn TensorShapes,
    quantize: Option<Format>,
    cache_format: CacheFormat,
    /// Most rows of a step; 0 if caches hold all positions.
    step_rows: u32,
    max_binding_bytes: u64,
    matrices: Vec<MatrixInfo>,
    /// Indices of matrices by tensor name.
    matrix_of: BTreeMap<String, u16>,
    shared: Vec<SharedBuffer>,
    /// Indices of shared buffers by name; a few buffers can have one name.
    shared_of: BTreeMap<String, Vec<u16>>,
    /// Tensors of the model that its plans do not need.
    unneeded: Vec<String>,
    problems: Vec<String>,
    /// True if there were more buffers or matrices than indices.
    is_full: bool,
}

impl<'a> Resources<'a> {
    /// Empty resources. Matrices will be split so that no plane of a part exceeds
    /// `max_binding_bytes`; caches will be in `f32`.
    pub fn new(shapes: &'a dyn TensorShapes, max_binding_bytes: u64) -> Self {
        Self {
            shapes,
            quantize: None,
            cache_format: CacheFormat::F32,
            step_rows: 0,
            max_binding_bytes,
            matrices: Vec::new(),
            matrix_of: BTreeMap::new(),
            shared: Vec::new(),
            shared_of: BTreeMap::new(),
            unneeded: Vec::new(),
            problems: Vec::new(),
            is_full: false,
        }
    }

    /// Quantizes the matrices that will be requested to this format if that makes them smaller.
    pub fn quantize(self, wanted: Option<Format>) -> Self {
        Self { quantize: wanted, ..self }
    }

    /// Stores the keys and values that will be requested in this format.
    pub fn cache_in(self, cache_format: CacheFormat) -> Self {
        Self { cache_format, ..self }
    }

    /// Lets caches of layers with a window that will be requested hold only the last positions, for
    /// steps of up to `step_rows` rows.
    pub fn window_caches(self, step_rows: u32) -> Self {
        Self { step_rows, ..self }
    }

    /// Format of keys and values.
    pub fn cache_format(&self) -> CacheFormat {
        self.cache_format
    }

    /// Weight matrices, in the order of their requests.
    pub fn matrices(&self) -> &[MatrixInfo] {
        &self.matrices
    }

    /// Shared buffers, in the order of their requests.
    pub fn shared(&self) -> &[SharedBuffer] {
        &self.shared
    }

    pub(crate) fn matrix(&self, index: u16) -> &MatrixInfo {
        &self.matrices[usize::from(index)]
    }

    /// Returns the bindable parts of a matrix.
    pub fn parts(&self, matrix: Matrix) -> Vec<MatrixPart> {
        let info = self.matrix(matrix.0);
        let part = |part| {
            let (first_row, rows) = info.part_rows(part);
            let (format, columns) = (info.format, info.columns);
            MatrixPart { matrix: matrix.0, part, format, row_offset: 0, first_row, rows, columns }
        };
        (0..info.part_count()).map(part).collect()
    }

    /// Joins the matrices of each stack into one. Returns for every former matrix the index of the
    /// matrix that it is in now, and its row offset there.
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

    /// Requests the matrix of a tensor of shape `[rows, columns]`.
    pub fn weight_matrix(&mut self, tensor: &str, rows: u32, columns: u32) -> Matrix {
        if let Some(index) = self.matrix_of.get(tensor) {
            return Matrix(*index);
        }
        let (format, rows_per_part) = match self.check(tensor, &[rows as usize, columns as usize]) {
            Some(stored) => {
                let format = stored.held_as(self.quantize, columns as usize);
                (format, self.rows_per_part(format, rows, columns))
            }
            // No tensor confirms this size: `check_complete` will fail.
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
            // Whole tiles of a matrix product, so that only the last part ends within one.
            fitting => (fitting / 64 * 64).max(rows.div_ceil(MAX_PARTS.into())),
        }
    }

    /// Rows of a matrix whose planes one binding can hold.
    pub(super) fn fitting_rows(&self, format: Format, columns: u32) -> u32 {
        let widest =
            format.rules().plane_row_bytes(columns as usize).into_iter().max().unwrap_or(4);
        (self.max_binding_bytes / widest as u64).min(u64::from(u32::MAX)) as u32
    }

    /// Requests the matrix `[rows, columns]` of a linear layer, and its bias if there is one: its
    /// name ends in `bias` instead of `weight`, and `bias` is its factor.
    pub fn linear(&mut self, weight: &str, rows: u32, columns: u32, bias: Option<f32>) -> Linear {
        let bias = bias.map(|factor| {
            let name = weight.strip_suffix("weight").unwrap_or(weight).to_owned() + "bias";
            let part = VectorPart::new(name, &[rows]);
            let transform = if factor == 1.0 { Transform::None } else { Transform::scale(factor) };
            self.packed_vector(vec![part.transformed(transform)])
        });
        Linear { weight: self.weight_matrix(weight, rows, columns), bias }
    }

    /// Requests a tensor of that name and length, as `f32`.
    pub fn weight_vector(&mut self, tensor: &str, length: u32) -> Buffer {
        self.packed_vector(vec![VectorPart::new(tensor, &[length])])
    }

    /// Requests tensors one after another, transformed if they say so, as `f32`.
    pub fn packed_vector(&mut self, parts: Vec<VectorPart>) -> Buffer {
        let words = parts.iter().fold(0, |sum: u64, part| sum.saturating_add(part.words()));
        let name = parts.iter().map(|part| part.tensor.as_str()).collect::<Vec<_>>().join(", ");
        let role = SharedRole::Vector(parts);
        if let Some(found) = self.find(&name, |buffer| buffer.role == role) {
            return found;
        }
        if let SharedRole::Vector(parts) = &role {
            for part in parts.iter().filter(|part| !part.tensor.is_empty()) {
                self.check_part(part);
            }
        }
        self.add(SharedBuffer { name, words, role })
    }

    /// Requests vectors one after another, as `f32`; `None` if a buffer is no vector.
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

    /// Requests a table of rotary positions.
    pub fn rotary_table(&mut self, table: RotaryTable) -> Buffer {
        let (words, role) = (table.words(), SharedRole::RotaryTable(table));
        let name = "rotary positions";
        let found = self.find(name, |buffer| buffer.role == role);
        found.unwrap_or_else(|| self.add(SharedBuffer { name: name.to_owned(), words, role }))
    }

    /// Notes a tensor of the model that its plans do not need, so that it is not taken for one that
    /// the architecture does not know.
    pub fn leave_out(&mut self, tensor: &str) {
        self.unneeded.push(tensor.to_owned());
    }

    /// True for a tensor that [`Resources::leave_out`] noted.
    pub fn is_left_out(&self, tensor: &str) -> bool {
        self.unneeded.iter().any(|name| name == tensor)
    }

    /// Requests the keys or values of a layer, a row of `width` elements for each position.
    pub fn cache(&mut self, name: &str, width: u32, context_length: u32) -> Cache {
        self.window_cache(name, width, context_length, None)
    }

    /// Requests the keys or values of a layer whose rows see `window` positions, or all; a ring, if
    /// that is shorter than the context.
    pub fn window_cache(
        &mut self,
        name: &str,
        width: u32,
        context_length: u32,
        window: Option<u32>,
    ) -> Cache {
        let ring = window.filter(|_| self.step_rows > 0);
        let ring = ring.map(|window| Ring::new(window, self.step_rows));
        let ring = ring.filter(|ring| ring.length < context_length);
        let rows = CacheRows { format: self.cache_format, width, ring };
        let words = u64::from(ring.map_or(context_length, |ring| ring.length)) * rows.words();
        let buffer = self.get_or_add(name, words, SharedRole::State(StateKind::Positions(rows)));
        Cache { buffer, rows }
    }

    /// Requests recurrent state of the sequence.
    pub fn recurrent_state(&mut self, name: &str, words: u64) -> Buffer {
        self.get_or_add(name, words, SharedRole::State(StateKind::Recurrent))
    }

    /// Requests `count` copies of each state buffer, all requested before, that cannot be truncated
    /// everywhere.
    pub fn snapshots(&mut self, count: u32) {
        let states = self.state_buffers().filter(|(_, kind)| !kind.is_truncatable());
        let states: Vec<_> = states.collect();
        for number in 1..=count {
            for (index, _) in &states {
                let SharedBuffer { name, words, .. } = &self.shared[*index];
                let (name, words) = (format!("{name}, snapshot {number}"), *words);
                // An index of a shared buffer.
                let role = SharedRole::Snapshot(*index as u16);
                self.add(SharedBuffer { name, words, role });
            }
        }
    }

    /// Indices and kinds of the shared buffers that are state of the sequence.
    pub fn state_buffers(&self) -> impl Iterator<Item = (usize, StateKind)> {
        self.shared.iter().enumerate().filter_map(|(index, buffer)| match buffer.role {
            SharedRole::State(kind) => Some((index, kind)),
            _ => None,
        })
    }

    /// Requests the buffer of token ids for steps of up to `capacity` rows.
    pub fn tokens(&mut self, capacity: u32) -> Buffer {
        let buffer = self.get_or_add("tokens", u64::from(capacity), SharedRole::Tokens);
        if let Buffer::Shared(index) = buffer {
            let words = &mut self.shared[usize::from(index)].words;
            *words = (*words).max(u64::from(capacity));
        }
        buffer
    }

    /// Requests a buffer of the sampling plan.
    pub(super) fn sampling(&mut self, name: &str, words: u64) -> Buffer {
        self.get_or_add(name, words, SharedRole::Sampling)
    }

    /// Names of all requested tensors.
    pub fn tensors(&self) -> impl Iterator<Item = &str> {
        let parts = self.shared.iter().filter_map(|buffer| match &buffer.role {
            SharedRole::Vector(parts) => Some(parts),
            _ => None,
        });
        let vectors = parts.flatten().map(|part| part.tensor.as_str());
        let vectors = vectors.filter(|name| !name.is_empty());
        let divisors = self.shared.iter().filter_map(|buffer| match &buffer.role {
            SharedRole::RotaryTable(table) => table.divisors.as_deref(),
            _ => None,
        });
        let matrices = self.matrices.iter().flat_map(|matrix| &matrix.tensors);
        matrices.map(|(name, _)| name.as_str()).chain(vectors).chain(divisors)
    }

    /// Returns `missing-tensors`, with all requested tensors that are missing or have another
    /// shape, or `unsupported-format` if there were too many buffers.
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

    /// The index after `count` others. [`Resources::check_complete`] reports if there is none.
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

    /// Notes a problem unless the tensor has that shape. Axes of length 1 do not count, because
    /// files differ in them.
    fn check_part(&mut self, part: &VectorPart) {
        let long =
            |shape: &[usize]| shape.iter().copied().filter(|axis| *axis != 1).collect::<Vec<_>>();
        let expected: Vec<usize> = part.shape.iter().map(|axis| *axis as usize).collect();
        let found = self.shapes.tensor(&part.tensor).map(|(_, shape)| shape);
        if found.is_none_or(|found| long(found) != long(&expected)) {
            self.check(&part.tensor, &expected);
        }
    }

    /// Returns the format of the tensor, or notes a problem if it does not have that shape.
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
