//! Inputs of a product in eight bits: blocks of 32, each with a scale.

use bytemuck::Zeroable;

use crate::formats::UNIT;

/// 32 inputs of a row.
#[derive(Debug, Clone, Copy, Zeroable)]
pub(crate) struct InputBlock {
    /// Four inputs each, from −127 to 127, the first in the lowest byte.
    pub(crate) quads: [i32; UNIT / 4],
    /// What they are to be multiplied by.
    pub(crate) scale: f32,
    /// Sums of the first and of the second half.
    pub(crate) sums: [i32; 2],
}

/// Rows of inputs.
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    /// Blocks of a row.
    blocks: usize,
    all: Vec<InputBlock>,
}

impl Inputs {
    /// Forgets all rows; those to come have so many columns.
    pub(crate) fn clear(&mut self, columns: usize) {
        self.blocks = columns.div_ceil(UNIT);
        self.all.clear();
    }

    /// Rounds a row.
    pub(crate) fn push(&mut self, row: &[f32]) {
        let mut units = row.chunks_exact(UNIT);
        self.all.extend(units.by_ref().filter_map(|unit| unit.first_chunk()).map(round));
        if !units.remainder().is_empty() {
            let mut unit = [0.0; UNIT];
            unit[..units.remainder().len()].copy_from_slice(units.remainder());
            self.all.push(round(&unit));
        }
    }

    /// How many rows there are.
    pub(crate) fn rows(&self) -> usize {
        self.all.len() / self.blocks
    }

    /// The blocks of a row.
    pub(crate) fn row(&self, row: usize) -> &[InputBlock] {
        &self.all[row * self.blocks..][..self.blocks]
    }
}

/// Rounds 32 inputs; what is no number becomes zeros with a scale that is none, so that it stays seen.
#[inline]
fn round(inputs: &[f32; UNIT]) -> InputBlock {
    let mut lanes = [0.0f32; 8];
    for eight in inputs.chunks_exact(8) {
        for (lane, input) in lanes.iter_mut().zip(eight) {
            *lane = if input.abs() > *lane { input.abs() } else { *lane };
        }
    }
    let greatest = lanes.iter().fold(0.0f32, |greatest, lane| greatest.max(*lane));
    let over = if greatest > 0.0 { 127.0 / greatest } else { 0.0 };
    // Added, it leaves the nearest whole number in the lowest bits.
    const ROUNDER: f32 = 12_582_912.0;
    let mut quants = [0i32; UNIT];
    for (quant, input) in quants.iter_mut().zip(inputs) {
        *quant = (input * over + ROUNDER).to_bits() as i32 - ROUNDER.to_bits() as i32;
    }
    let mut block = InputBlock { quads: [0; UNIT / 4], scale: greatest / 127.0, sums: [0; 2] };
    for (sum, half) in block.sums.iter_mut().zip(quants.chunks_exact(UNIT / 2)) {
        *sum = half.iter().sum();
    }
    for (quad, quants) in block.quads.iter_mut().zip(quants.chunks_exact(4)) {
        *quad = i32::from_le_bytes([quants[0] as u8, quants[1] as u8, quants[2] as u8, quants[3] as u8]);
    }
    block
}
