//! Inputs of a product in eight bits: blocks of 32, each with a scale.

use bytemuck::Zeroable;

use super::CpuVariant;
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
    pub(super) fn push(&mut self, variant: CpuVariant, row: &[f32]) {
        let first = self.all.len();
        self.all.resize(first + self.blocks, InputBlock::zeroed());
        variant.round(row, &mut self.all[first..]);
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

/// Rounds a row.
#[inline(always)]
pub(super) fn round(row: &[f32], blocks: &mut [InputBlock]) {
    for (block, inputs) in blocks.iter_mut().zip(row.chunks(UNIT)) {
        *block = match inputs.first_chunk() {
            Some(inputs) => round_block(inputs),
            None => {
                let mut filled = [0.0; UNIT];
                filled[..inputs.len()].copy_from_slice(inputs);
                round_block(&filled)
            }
        };
    }
}

/// Rounds 32 inputs.
#[inline(always)]
fn round_block(inputs: &[f32; UNIT]) -> InputBlock {
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
