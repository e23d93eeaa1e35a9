//! Inputs of a product as sums of two numbers of eight bits: blocks of 32, each with a scale, and what these
//! leave of them, as a second row. One alone loses so much that answers change.

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

/// Memory for rows of inputs.
#[derive(Debug, Default)]
pub(super) struct InputMemory(Vec<InputBlock>);

impl InputMemory {
    /// So many rows of so many columns, to round: blocks for each, of it and of what rounding leaves of it.
    pub(super) fn rows(
        &mut self,
        rows: usize,
        columns: usize,
    ) -> impl Iterator<Item = &mut [InputBlock]> {
        let blocks = columns.div_ceil(UNIT);
        self.0.resize(2 * rows * blocks, InputBlock::zeroed());
        self.0.chunks_exact_mut(2 * blocks)
    }

    /// What became of them, from a row on.
    pub(super) fn from(&self, row: usize, columns: usize) -> Inputs<'_> {
        let blocks = columns.div_ceil(UNIT);
        Inputs { blocks, all: &self.0[2 * row * blocks..] }
    }
}

/// Rows of inputs, each followed by what rounding left of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inputs<'a> {
    /// Blocks of a row.
    blocks: usize,
    all: &'a [InputBlock],
}

impl<'a> Inputs<'a> {
    /// The blocks of a row: of two for each that was rounded.
    pub(crate) fn row(&self, row: usize) -> &'a [InputBlock] {
        &self.all[row * self.blocks..][..self.blocks]
    }
}

/// Rounds a row to the first half of the blocks, and what that leaves of it to the second.
#[inline(always)]
pub(super) fn round(row: &[f32], blocks: &mut [InputBlock]) {
    let (nearest, rests) = blocks.split_at_mut(blocks.len() / 2);
    for ((nearest, rest), inputs) in nearest.iter_mut().zip(rests).zip(row.chunks(UNIT)) {
        let mut left = [0.0; UNIT];
        left[..inputs.len()].copy_from_slice(inputs);
        *nearest = round_block(&mut left);
        *rest = round_block(&mut left);
    }
}

/// Rounds 32 inputs, and leaves what that takes from them.
#[inline(always)]
fn round_block(inputs: &mut [f32; UNIT]) -> InputBlock {
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
    let scale = greatest / 127.0;
    let mut quants = [0i32; UNIT];
    for (quant, input) in quants.iter_mut().zip(inputs) {
        let shifted = *input * over + ROUNDER;
        // A byte also of what is no number: nothing is right then, but no sum of them is too large.
        *quant = i32::from(shifted.to_bits().wrapping_sub(ROUNDER.to_bits()) as i8);
        *input -= (shifted - ROUNDER) * scale;
    }
    let mut block = InputBlock { quads: [0; UNIT / 4], scale, sums: [0; 2] };
    for (sum, half) in block.sums.iter_mut().zip(quants.chunks_exact(UNIT / 2)) {
        *sum = half.iter().sum();
    }
    for (quad, quants) in block.quads.iter_mut().zip(quants.chunks_exact(4)) {
        *quad = i32::from_le_bytes([
            quants[0] as u8,
            quants[1] as u8,
            quants[2] as u8,
            quants[3] as u8,
        ]);
    }
    block
}
