//! Weight formats: the stored block, its exact dequantisation, and its planes on the GPU.

use crate::error::Result;

/// How the weights of a tensor are stored in the model file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(non_camel_case_types, reason = "the field's own names")]
#[expect(missing_docs, reason = "the names say it; each format's file documents its block")]
pub enum Format {
    F32,
    F16,
    BF16,
    Q8_0,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q4_K,
    Q5_K,
    Q6_K,
}

/// Weights per unit: the piece of a row that one shader call unpacks.
/// Rows are padded with zero weights to whole units on the GPU.
pub const UNIT: usize = 32;

/// What a format's file has to say. One implementation a format, in `formats/<name>.rs`.
pub trait WeightFormat: Sync {
    /// Weights per stored block.
    fn block_weights(&self) -> usize;
    /// Bytes per stored block.
    fn block_bytes(&self) -> usize;
    /// Exact values of whole stored blocks: `out.len() == blocks * block_weights`. The truth
    /// everything else is compared with.
    fn dequantise(&self, stored: &[u8], out: &mut [f32]);
    /// Bytes that one row of `columns` weights takes in each GPU plane (each a multiple of 4).
    fn plane_row_bytes(&self, columns: usize) -> Vec<usize>;
    /// Repacks one stored row into its planes (`planes[i].len() == plane_row_bytes(columns)[i]`,
    /// zeroed before the call).
    fn repack_row(&self, columns: usize, stored: &[u8], planes: &mut [&mut [u8]]);
    /// WGSL that binds the planes in group 1 and defines
    /// `fn weights32(row: u32, unit: u32) -> Weights32` (contract: shaders/formats/README.md).
    fn shader(&self) -> &'static str;
}

impl Format {
    /// Every format, in the order of the documentation.
    pub const ALL: [Format; 11] = [
        Format::F32,
        Format::F16,
        Format::BF16,
        Format::Q8_0,
        Format::Q4_0,
        Format::Q4_1,
        Format::Q5_0,
        Format::Q5_1,
        Format::Q4_K,
        Format::Q5_K,
        Format::Q6_K,
    ];

    /// The field's name of the format, e.g. `Q4_1`.
    pub fn name(self) -> &'static str {
        todo!()
    }

    /// The format's file.
    pub fn rules(self) -> &'static dyn WeightFormat {
        todo!()
    }

    /// Bytes of one stored row of `columns` weights; `malformed` when the row is not whole blocks.
    pub fn row_bytes(self, columns: usize) -> Result<usize> {
        let _ = columns;
        todo!()
    }
}
