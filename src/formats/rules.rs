//! The interface of a weight format: sizes, dequantization, GPU planes, integer form.

use super::bits::UNIT;
use super::integers::{IntegerQuants, IntegerUnit};

/// Maximum number of planes of a format: storage bindings of group 1 (shaders/formats/README.md).
pub const MAX_PLANES: usize = 3;

/// Encoding of a floating-point weight, in little-endian bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FloatKind {
    /// IEEE 754 single precision, 32 bits.
    F32,
    /// IEEE 754 half precision, 16 bits.
    F16,
    /// bfloat16: the upper 16 bits of an f32.
    BF16,
}

/// Properties and conversions of one weight format, implemented in `formats/<name>.rs`.
pub trait WeightFormat: Sync {
    /// Weights per stored block.
    fn block_weights(&self) -> usize;
    /// Bytes per stored block.
    fn block_bytes(&self) -> usize;
    /// Bytes at the start of a stored row, before its blocks (F8_E4M3: the row's scale).
    fn row_header_bytes(&self) -> usize {
        0
    }
    /// Dequantizes one stored row exactly: `out.len() == blocks * block_weights`. Every other
    /// implementation of the format is compared with this one.
    fn dequantize_row(&self, stored: &[u8], out: &mut [f32]);
    /// Quantizes `block_weights` values to one block, with the same result on every machine.
    /// Returns false if the format is read-only or a value is outside its range.
    fn quantize(&self, _values: &[f32], _block: &mut [u8]) -> bool {
        false
    }
    /// Integer form of the weights, for integer dot products on CPUs; `None` for float formats.
    fn integers(&self) -> Option<IntegerQuants> {
        None
    }
    /// Reads one stored row as integer units, the last padded with zero weights. Does nothing if
    /// [`WeightFormat::integers`] is `None`.
    fn integer_units(&self, _stored: &[u8], _units: &mut [IntegerUnit]) {}
    /// Encoding of the weights if a row is a plain array of floating-point numbers.
    fn float_kind(&self) -> Option<FloatKind> {
        None
    }
    /// Bytes of one row of `columns` weights in each GPU plane, each a multiple of 4. The number of
    /// planes, at most [`MAX_PLANES`], does not depend on `columns`.
    fn plane_row_bytes(&self, columns: usize) -> Vec<usize>;
    /// Number of GPU planes.
    fn plane_count(&self) -> usize {
        self.plane_row_bytes(self.block_weights().max(UNIT)).len()
    }
    /// Repacks one stored row into its planes: `planes[i].len() == plane_row_bytes(columns)[i]`,
    /// all zero before the call.
    fn repack_row(&self, columns: usize, stored: &[u8], planes: &mut [&mut [u8]]);
    /// True if no scale of one stored row (float formats: no weight) is NaN or infinite. Reads
    /// nothing else, because every load checks every row.
    fn is_finite(&self, stored: &[u8]) -> bool;
    /// Bits of a quant, if the format's `dot32` works with every file of `shaders/arithmetic/`: it
    /// applies scales to sums of integer products and uses only `v.sums` and the `dot_…` functions.
    /// `None` if it needs `arithmetic/f32`.
    fn quant_bits(&self) -> Option<u32> {
        None
    }
    /// Values of all `override` constants that the shader declares.
    fn constants(&self) -> Vec<(&'static str, f64)> {
        Vec::new()
    }
    /// WGSL source that binds the planes in group 1 and defines `weights32` and `dot32`
    /// (contract: shaders/formats/README.md).
    fn shader(&self) -> &'static str;
}
