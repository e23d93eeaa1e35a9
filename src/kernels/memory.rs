//! Buffers and matrices of a model on the CPU, which CPU references read and write.

use super::{Activation, Buffer, Step};
use crate::formats::Format;
use crate::sampling::SamplingParameters;

/// A weight matrix in the layout of its file.
#[derive(Debug, Clone)]
pub struct CpuMatrix {
    /// Weight format.
    pub format: Format,
    /// Rows (outputs).
    pub rows: usize,
    /// Weights per row (inputs).
    pub columns: usize,
    /// Stored bytes of one row.
    pub row_bytes: usize,
    /// Stored rows, one after another.
    pub stored: Vec<u8>,
}

impl CpuMatrix {
    /// Dequantizes a row, exactly; `weights.len() == columns`.
    pub fn row(&self, row: usize, weights: &mut [f32]) {
        let stored = &self.stored[row * self.row_bytes..][..self.row_bytes];
        self.format.rules().dequantize_row(stored, weights);
    }
}

/// Buffers and matrices of a model. Token ids are stored as the bits of an `f32`.
#[derive(Debug, Default)]
pub struct CpuMemory {
    /// Memory of scratch buffers, which can share a slot one after another.
    pub slots: Vec<Vec<f32>>,
    /// Slot of each scratch buffer of the running plan.
    pub slot_of: Vec<u32>,
    /// Shared buffers, by index.
    pub shared: Vec<Vec<f32>>,
    /// Matrices, by index.
    pub matrices: Vec<CpuMatrix>,
}

impl CpuMemory {
    fn slot(&self, scratch: u16) -> usize {
        self.slot_of[usize::from(scratch)] as usize
    }

    /// Returns the words of a buffer.
    pub fn read(&self, buffer: Buffer) -> &[f32] {
        match buffer {
            Buffer::Scratch(index) => &self.slots[self.slot(index)],
            Buffer::Shared(index) => &self.shared[usize::from(index)],
        }
    }

    /// Returns the words of a buffer for writing.
    pub fn buffer_mut(&mut self, buffer: Buffer) -> &mut Vec<f32> {
        match buffer {
            Buffer::Scratch(index) => {
                let slot = self.slot(index);
                &mut self.slots[slot]
            }
            Buffer::Shared(index) => &mut self.shared[usize::from(index)],
        }
    }

    /// Sampling parameters that a buffer holds.
    pub(super) fn sampling(&self, buffer: Buffer) -> SamplingParameters {
        let words = &self.read(buffer)[..size_of::<SamplingParameters>() / 4];
        *bytemuck::from_bytes(bytemuck::cast_slice(words))
    }

    /// Returns the columns of a row of an activation.
    pub fn row(&self, activation: &Activation, row: u32) -> &[f32] {
        &self.read(activation.buffer)[activation.start(row)..][..activation.width as usize]
    }

    /// Calls `write` with each row of an activation: its index and its columns.
    pub(super) fn write_rows(
        &mut self,
        y: &Activation,
        step: Step,
        write: impl Fn(&Self, u32, &mut [f32]),
    ) {
        self.update(y.buffer, |memory, words| {
            for row in 0..y.rows.count(step.rows) {
                write(memory, row, &mut words[y.start(row)..][..y.width as usize]);
            }
        });
    }

    /// Calls `write` with the words of a buffer, and with the memory to read the other buffers.
    pub fn update(&mut self, buffer: Buffer, write: impl FnOnce(&mut Self, &mut [f32])) {
        let mut words = std::mem::take(self.buffer_mut(buffer));
        write(self, &mut words);
        *self.buffer_mut(buffer) = words;
    }
}
