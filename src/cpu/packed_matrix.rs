//! Weight matrix in the packed layout of the CPU's micro-kernels, integer or floating-point.

use super::float_panels::FloatPanels;
use super::integer_panels::IntegerPanels;
use super::variant::CpuVariant;
use crate::error::Result;
use crate::formats::{FloatKind, Format, IntegerQuants};
use crate::plan::MatrixInfo;

/// A weight matrix packed into panels of sixteen rows.
#[derive(Debug)]
pub(super) enum PackedMatrix {
    Integers(IntegerPanels),
    Floats(FloatPanels),
}

/// Element type of a packed matrix.
enum Element {
    Integer(IntegerQuants),
    Float(FloatKind),
}

impl Element {
    /// Element type into which a variant packs a format; `None` if it uses the stored rows.
    fn of(format: Format, variant: CpuVariant) -> Option<Self> {
        if variant == CpuVariant::Exact {
            return None;
        }
        let rules = format.rules();
        rules.integers().map(Element::Integer).or_else(|| rules.float_kind().map(Element::Float))
    }
}

impl PackedMatrix {
    /// Allocates a matrix without rows; `None` if the variant uses the stored rows.
    /// `out-of-memory` if there is no room.
    pub(super) fn new(matrix: &MatrixInfo, variant: CpuVariant) -> Result<Option<Self>> {
        let (name, rows, columns) = (matrix.name(), matrix.rows as usize, matrix.columns as usize);
        Ok(match Element::of(matrix.format, variant) {
            Some(Element::Integer(integers)) => {
                Some(PackedMatrix::Integers(IntegerPanels::new(&name, integers, rows, columns)?))
            }
            Some(Element::Float(kind)) => {
                Some(PackedMatrix::Floats(FloatPanels::new(&name, kind, rows, columns)?))
            }
            None => None,
        })
    }

    /// Bytes that the matrix takes when packed; `None` if the variant uses the stored rows.
    pub(super) fn bytes_of(matrix: &MatrixInfo, variant: CpuVariant) -> Option<u64> {
        let (rows, columns) = (matrix.rows as usize, matrix.columns as usize);
        Element::of(matrix.format, variant).map(|element| match element {
            Element::Integer(integers) => IntegerPanels::bytes_of(integers, rows, columns),
            Element::Float(kind) => FloatPanels::bytes_of(kind, rows, columns),
        })
    }

    /// Bytes that this matrix takes.
    pub(super) fn size_bytes(&self) -> u64 {
        match self {
            PackedMatrix::Integers(panels) => panels.size_bytes(),
            PackedMatrix::Floats(panels) => panels.size_bytes(),
        }
    }

    /// Packs and appends the next stored rows.
    pub(super) fn append(&mut self, format: Format, row_bytes: usize, stored: &[u8]) {
        match self {
            PackedMatrix::Integers(panels) => panels.append(format, row_bytes, stored),
            PackedMatrix::Floats(panels) => panels.append(row_bytes, stored),
        }
    }

    /// Dequantizes a row.
    pub(super) fn row(&self, row: usize, weights: &mut [f32]) {
        match self {
            PackedMatrix::Integers(panels) => panels.row(row, weights),
            PackedMatrix::Floats(panels) => panels.row(row, weights),
        }
    }
}
