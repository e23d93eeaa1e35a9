//! Weights turned into another format while they are read: into which, and what that loses.
//!
//! The rounding itself is each format's own (`src/formats/`); which matrices are turned is
//! [`Format::held_as`].

use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Result};
use crate::formats::Format;
use crate::weights::{Checkpoint, Tensor};

/// Weights are read, turned and repacked in pieces of about this size.
const PIECE_BYTES: usize = 4 << 20;

/// A format that matrices can be turned into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// 4.5 bits a weight.
    T4,
    /// 8.5 bits a weight.
    Q8_0,
}

impl Target {
    /// Every target, the smallest first.
    pub const ALL: [Target; 2] = [Target::T4, Target::Q8_0];

    /// The format.
    pub const fn format(self) -> Format {
        match self {
            Target::T4 => Format::T4,
            Target::Q8_0 => Format::Q8_0,
        }
    }

    /// The target of that format's name.
    pub fn from_name(name: &str) -> Option<Target> {
        Target::ALL.into_iter().find(|target| target.format().name() == name)
    }
}

/// How far the weights of a tensor have moved.
#[derive(Debug, Clone, Copy, Default)]
pub struct Loss {
    /// Σ weight².
    weights: f64,
    /// Σ (weight as it is held − weight)².
    errors: f64,
}

impl Loss {
    /// Root of the mean squared error over the root of the mean square; 0 for zeros.
    pub fn relative_rms(&self) -> f64 {
        if self.errors == 0.0 { 0.0 } else { (self.errors / self.weights).sqrt() }
    }
}

/// Some rows of a tensor.
#[derive(Debug)]
pub struct Piece {
    /// How many.
    pub rows: u32,
    /// What was read for them.
    pub stored_bytes: u64,
    /// The rows in the format asked for.
    pub held: Vec<u8>,
}

impl Checkpoint {
    /// The rows of a tensor from `first_row` on, as many as make a piece, in the format `held_as`.
    /// What moved is added to `loss`. `malformed` when there are weights that are not numbers,
    /// `unsupported-format` when there are some too large for the format.
    pub async fn read_piece(
        &self,
        tensor: &Tensor,
        held_as: Format,
        first_row: u32,
        loss: &mut Loss,
    ) -> Result<Piece> {
        // On its way into another format a weight is a number of four bytes.
        let on_the_way = if tensor.format == held_as { tensor.format } else { Format::F32 };
        let row_bytes = on_the_way.row_bytes(tensor.columns())?;
        let left = tensor.rows().saturating_sub(first_row as usize).max(1);
        let rows = (PIECE_BYTES / row_bytes).clamp(1, left);
        let stored = self.read_finite_rows(tensor, first_row as usize, rows).await?;
        let stored_bytes = stored.len() as u64;
        let held = convert(tensor, stored, held_as, loss)?;
        Ok(Piece { rows: rows as u32, stored_bytes, held })
    }
}

/// Whole stored rows of a tensor in the format `to`.
fn convert(tensor: &Tensor, stored: Vec<u8>, to: Format, loss: &mut Loss) -> Result<Vec<u8>> {
    if tensor.format == to {
        return Ok(stored);
    }
    let (columns, rules) = (tensor.columns(), to.rules());
    let mut values = vec![0.0; stored.len() / tensor.format.row_bytes(columns)? * columns];
    tensor.format.dequantize(columns, &stored, &mut values)?;
    let mut converted = vec![0; values.len() / rules.block_weights() * rules.block_bytes()];
    let mut held = vec![0.0; rules.block_weights()];
    let blocks = converted.chunks_exact_mut(rules.block_bytes());
    for (block, values) in blocks.zip(values.chunks_exact(rules.block_weights())) {
        if !rules.quantize(values, block) {
            let largest = values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
            let message = format!(
                "tensor {}: weight of {largest:e}, too large for {}",
                tensor.name,
                to.name()
            );
            return Err(Error::new(Code::UnsupportedFormat, message));
        }
        rules.dequantize_row(block, &mut held);
        for (held, value) in held.iter().zip(values) {
            let error = f64::from(held - value);
            loss.weights += f64::from(*value) * f64::from(*value);
            loss.errors += error * error;
        }
    }
    Ok(converted)
}
