//! What a kernel's meaning reads and writes: a plan's buffers and matrices on the CPU.

use super::{Activation, Buffer, Sampling, Step};
use crate::formats::Format;

/// A weight matrix as it is stored in the file.
#[derive(Debug, Clone)]
pub struct CpuMatrix {
    /// How the weights are stored.
    pub format: Format,
    /// Rows (outputs).
    pub rows: usize,
    /// Weights per row (inputs).
    pub columns: usize,
    /// Stored bytes of one row.
    pub row_bytes: usize,
    /// All rows, one after another.
    pub stored: Vec<u8>,
}

impl CpuMatrix {
    /// The exact weights of one row; `weights.len() == columns`.
    pub fn row(&self, row: usize, weights: &mut [f32]) {
        let stored = &self.stored[row * self.row_bytes..][..self.row_bytes];
        self.format.rules().dequantize_row(stored, weights);
    }
}

/// Every buffer and matrix of a model, on the CPU. Token ids are stored as bit patterns.
#[derive(Debug, Default)]
pub struct CpuMemory {
    /// Memory that scratch buffers share over time.
    pub slots: Vec<Vec<f32>>,
    /// The slot of each scratch buffer of the running plan.
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

    /// The words of a buffer.
    pub fn read(&self, buffer: Buffer) -> &[f32] {
        match buffer {
            Buffer::Scratch(index) => &self.slots[self.slot(index)],
            Buffer::Shared(index) => &self.shared[usize::from(index)],
        }
    }

    /// The words of a buffer, to write.
    pub fn buffer_mut(&mut self, buffer: Buffer) -> &mut Vec<f32> {
        match buffer {
            Buffer::Scratch(index) => {
                let slot = self.slot(index);
                &mut self.slots[slot]
            }
            Buffer::Shared(index) => &mut self.shared[usize::from(index)],
        }
    }

    /// The words of a buffer as how a token is chosen.
    pub(super) fn sampling(&self, buffer: Buffer) -> Sampling {
        *bytemuck::from_bytes(bytemuck::cast_slice(&self.read(buffer)[..size_of::<Sampling>() / 4]))
    }

    /// One row of an activation.
    pub fn row(&self, activation: &Activation, row: u32) -> &[f32] {
        &self.read(activation.buffer)[activation.start(row)..][..activation.width as usize]
    }

    /// Writes each row of an activation.
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

    /// Runs `write` on a buffer taken out of the memory, so that others can be read meanwhile.
    pub fn update(&mut self, buffer: Buffer, write: impl FnOnce(&mut Self, &mut [f32])) {
        let mut words = std::mem::take(self.buffer_mut(buffer));
        write(self, &mut words);
        *self.buffer_mut(buffer) = words;
    }
}
