//! Quantized inputs of integer products: int8 blocks of 32 with one scale each, and int8 blocks of
//! the rounding residual. Without the residual the rounding would change a model's answers.

use bytemuck::Zeroable;

use super::functions::ROUNDER;
use crate::formats::UNIT;

/// 32 quantized inputs of a row.
#[derive(Debug, Clone, Copy, Zeroable)]
pub(crate) struct InputBlock {
    /// Four quants each, from −127 to 127, the first in the lowest byte.
    pub(crate) quads: [i32; UNIT / 4],
    /// Scale of the quants.
    pub(crate) scale: f32,
    /// Sums of the quants of the first and of the second half.
    pub(crate) sums: [i32; 2],
}

/// Arena for quantized rows, reused between products.
#[derive(Debug, Default)]
pub(super) struct InputArena(Vec<InputBlock>);

impl InputArena {
    /// Resizes the arena for `rows` × `columns` and yields per row its int8 blocks followed by the
    /// int8 residual blocks.
    pub(super) fn rows(
        &mut self,
        rows: usize,
        columns: usize,
    ) -> impl Iterator<Item = &mut [InputBlock]> {
        let blocks = columns.div_ceil(UNIT);
        self.0.resize(2 * rows * blocks, InputBlock::zeroed());
        self.0.chunks_exact_mut(2 * blocks)
    }

    /// The quantized rows from `row` on.
    pub(super) fn from(&self, row: usize, columns: usize) -> Inputs<'_> {
        let blocks = columns.div_ceil(UNIT);
        Inputs { blocks, all: &self.0[2 * row * blocks..] }
    }
}

/// Rows of quantized inputs, each followed by a row of residuals.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inputs<'a> {
    /// Blocks per row.
    blocks: usize,
    all: &'a [InputBlock],
}

impl<'a> Inputs<'a> {
    /// Blocks of row `index / 2`, or of its residual if `index` is odd.
    pub(crate) fn row(&self, index: usize) -> &'a [InputBlock] {
        &self.all[index * self.blocks..][..self.blocks]
    }
}

/// Quantizes a row into the first half of the blocks, its residual into the second half.
#[inline(always)]
pub(super) fn quantize(row: &[f32], blocks: &mut [InputBlock]) {
    let (blocks, residuals) = blocks.split_at_mut(blocks.len() / 2);
    for ((block, residual), inputs) in blocks.iter_mut().zip(residuals).zip(row.chunks(UNIT)) {
        let mut rest = [0.0; UNIT];
        rest[..inputs.len()].copy_from_slice(inputs);
        *block = quantize_block(&mut rest);
        *residual = quantize_block(&mut rest);
    }
}

/// Quantizes 32 inputs and subtracts the quantized values from them.
#[inline(always)]
fn quantize_block(inputs: &mut [f32; UNIT]) -> InputBlock {
    let mut lanes = [0.0f32; 8];
    for eight in inputs.chunks_exact(8) {
        for (lane, input) in lanes.iter_mut().zip(eight) {
            *lane = if input.abs() > *lane { input.abs() } else { *lane };
        }
    }
    let greatest = lanes.iter().fold(0.0f32, |greatest, lane| greatest.max(*lane));
    let inverse = if greatest > 0.0 { 127.0 / greatest } else { 0.0 };
    let scale = greatest / 127.0;
    let mut quants = [0i32; UNIT];
    for (quant, input) in quants.iter_mut().zip(inputs) {
        let shifted = *input * inverse + ROUNDER;
        // Truncated to a byte, so that even the quants of NaN cannot overflow a sum.
        *quant = i32::from(shifted.to_bits().wrapping_sub(ROUNDER.to_bits()) as i8);
        *input -= (shifted - ROUNDER) * scale;
    }
    let mut block = InputBlock { quads: [0; UNIT / 4], scale, sums: [0; 2] };
    for (sum, half) in block.sums.iter_mut().zip(quants.chunks_exact(UNIT / 2)) {
        *sum = half.iter().sum();
    }
    for (quad, quants) in block.quads.iter_mut().zip(quants.as_chunks::<4>().0) {
        *quad = i32::from_le_bytes(quants.map(|quant| quant as u8));
    }
    block
}
