//! Conversion of weights to another format while they are read, and the error it introduces.
//!
//! Rounding is implemented by each format; [`Format::held_as`] selects the matrices to convert.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::formats::Format;
use crate::weights::{Checkpoint, Tensor};

/// Approximate size of the pieces in which weights are read, converted and repacked.
const PIECE_BYTES: usize = 4 << 20;

/// A format that matrices can be converted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "QuantizeFormat"))]
pub enum Target {
    /// 4.5 bits per weight.
    T4,
    /// 8.5 bits per weight.
    Q8_0,
}

impl Target {
    /// All targets, smallest first.
    pub const ALL: [Target; 2] = [Target::T4, Target::Q8_0];

    /// The weight format.
    pub const fn format(self) -> Format {
        match self {
            Target::T4 => Format::T4,
            Target::Q8_0 => Format::Q8_0,
        }
    }

    /// The target with the given format name.
    pub fn from_name(name: &str) -> Option<Target> {
        Target::ALL.into_iter().find(|target| target.format().name() == name)
    }
}

/// Accumulated quantization error of a tensor.
#[derive(Debug, Clone, Copy, Default)]
pub struct Loss {
    /// Σ weight².
    weight_squares: f64,
    /// Σ (quantized weight − weight)².
    error_squares: f64,
}

impl Loss {
    /// Relative RMS error: root mean square of the errors over that of the weights; 0 for zeros.
    pub fn relative_rms(&self) -> f64 {
        if self.error_squares == 0.0 {
            return 0.0;
        }
        (self.error_squares / self.weight_squares).sqrt()
    }
}

/// Consecutive rows of a tensor, converted to the format in which they are held.
#[derive(Debug)]
pub struct Piece {
    /// Number of rows.
    pub rows: u32,
    /// Bytes read from the file.
    pub stored_bytes: u64,
    /// The rows in the requested format.
    pub held: Vec<u8>,
}

impl Checkpoint {
    /// Reads the rows of a tensor from `first_row` on that fit into a piece, in the format
    /// `held_as`. Adds the quantization error to `loss`. Errors: `malformed` if a weight is NaN or
    /// infinite, `unsupported-format` if one is too large for the format.
    pub async fn read_piece(
        &self,
        tensor: &Tensor,
        held_as: Format,
        first_row: u32,
        loss: &mut Loss,
    ) -> Result<Piece> {
        // Weights that are converted pass through f32.
        let widest = if tensor.format == held_as { tensor.format } else { Format::F32 };
        let row_bytes = widest.row_bytes(tensor.columns())?;
        let left = tensor.rows().saturating_sub(first_row as usize).max(1);
        let rows = (PIECE_BYTES / row_bytes).clamp(1, left);
        let stored = self.read_finite_rows(tensor, first_row as usize, rows).await?;
        let stored_bytes = stored.len() as u64;
        let held = convert(&self.name, tensor, stored, held_as, loss)?;
        Ok(Piece { rows: rows as u32, stored_bytes, held })
    }
}

/// Converts whole stored rows of a tensor to the format `to`.
fn convert(
    file: &str,
    tensor: &Tensor,
    stored: Vec<u8>,
    to: Format,
    loss: &mut Loss,
) -> Result<Vec<u8>> {
    if tensor.format == to {
        return Ok(stored);
    }
    let (columns, rules) = (tensor.columns(), to.rules());
    let mut values = vec![0.0; stored.len() / tensor.format.row_bytes(columns)? * columns];
    tensor.format.dequantize(columns, &stored, &mut values)?;
    let mut converted = vec![0; values.len() / rules.block_weights() * rules.block_bytes()];
    let mut quantized = vec![0.0; rules.block_weights()];
    let blocks = converted.chunks_exact_mut(rules.block_bytes());
    for (block, values) in blocks.zip(values.chunks_exact(rules.block_weights())) {
        if !rules.quantize(values, block) {
            let largest = values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
            let field = format!("tensor {}", tensor.name);
            let found = format!("a weight of {largest:e}");
            let expected = format!("weights in the range of {}", to.name());
            return Err(Error::unsupported_value(file, &field, found, expected));
        }
        rules.dequantize_row(block, &mut quantized);
        for (quantized, value) in quantized.iter().zip(values) {
            let error = f64::from(quantized - value);
            loss.weight_squares += f64::from(*value) * f64::from(*value);
            loss.error_squares += error * error;
        }
    }
    Ok(converted)
}
