//! A weight matrix in panels of sixteen rows: of whole numbers, or of floating-point numbers.

use super::CpuVariant;
use super::floats::FloatPanels;
use super::packed::Packed;
use crate::error::Result;
use crate::formats::{FloatBits, Format, Integers};
use crate::plan::MatrixInfo;

/// The matrix.
#[derive(Debug)]
pub(super) enum Panels {
    Integers(Packed),
    Floats(FloatPanels),
}

/// What a matrix's panels hold.
enum Numbers {
    Integers(Integers),
    Floats(FloatBits),
}

impl Numbers {
    fn of(format: Format, variant: CpuVariant) -> Option<Self> {
        if variant == CpuVariant::Exact {
            return None;
        }
        let rules = format.rules();
        rules.integers().map(Numbers::Integers).or_else(|| rules.float_bits().map(Numbers::Floats))
    }
}

impl Panels {
    /// A matrix without rows yet, if that variant has panels for it.
    pub(super) fn new(matrix: &MatrixInfo, variant: CpuVariant) -> Result<Option<Self>> {
        let (name, rows, columns) = (matrix.name(), matrix.rows as usize, matrix.columns as usize);
        Ok(match Numbers::of(matrix.format, variant) {
            Some(Numbers::Integers(integers)) => {
                Some(Panels::Integers(Packed::new(&name, integers, rows, columns)?))
            }
            Some(Numbers::Floats(bits)) => {
                Some(Panels::Floats(FloatPanels::new(&name, bits, rows, columns)?))
            }
            None => None,
        })
    }

    /// Bytes of such a matrix, if that variant has panels for it.
    pub(super) fn bytes_of(matrix: &MatrixInfo, variant: CpuVariant) -> Option<u64> {
        let (rows, columns) = (matrix.rows as usize, matrix.columns as usize);
        Numbers::of(matrix.format, variant).map(|numbers| match numbers {
            Numbers::Integers(integers) => Packed::bytes_of(integers, rows, columns),
            Numbers::Floats(bits) => FloatPanels::bytes_of(bits, rows, columns),
        })
    }

    /// Bytes of this one.
    pub(super) fn size_bytes(&self) -> u64 {
        match self {
            Panels::Integers(packed) => packed.size_bytes(),
            Panels::Floats(floats) => floats.size_bytes(),
        }
    }

    /// Appends the next stored rows.
    pub(super) fn append(&mut self, format: Format, row_bytes: usize, stored: &[u8]) {
        match self {
            Panels::Integers(packed) => packed.append(format, row_bytes, stored),
            Panels::Floats(floats) => floats.append(row_bytes, stored),
        }
    }

    /// The weights of a row.
    pub(super) fn row(&self, row: usize, weights: &mut [f32]) {
        match self {
            Panels::Integers(packed) => packed.row(row, weights),
            Panels::Floats(floats) => floats.row(row, weights),
        }
    }
}
