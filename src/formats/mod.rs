//! Weight formats: the stored block, its exact dequantization, and its planes on the GPU.
//!
//! One file a format, or a family of formats that differ in numbers alone. A new one is a file here, a `.wgsl` of the same name in
//! `shaders/formats/`, a line in [`Format`]'s functions below, and golden blocks in
//! `tests/data/formats/`.

use crate::error::{Code, Error, Result};

mod bf16;
mod bits;
mod f16;
mod f32;
mod f8_e4m3;
mod integers;
mod mlx;
mod q4_0;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_1;
mod q5_k;
mod q6_k;
mod q8_0;
mod t4;

pub use integers::{Curve, IntegerUnit, Integers};
pub use mlx::{Mlx, MlxScales};

/// How the weights of a tensor are stored in the model file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(non_camel_case_types, reason = "the field's own names")]
#[expect(missing_docs, reason = "the names say it; each format's file documents its block")]
pub enum Format {
    F32,
    F16,
    BF16,
    F8_E4M3,
    Q8_0,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q4_K,
    Q5_K,
    Q6_K,
    T4,
    MLX(Mlx),
}

/// Weights per unit: the piece of a row that one shader call unpacks.
/// Rows are padded with zero weights to whole units on the GPU.
pub const UNIT: usize = 32;

/// How floating-point numbers are written, in little-endian bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FloatBits {
    /// 32 bits.
    Single,
    /// 16 bits: half precision.
    Half,
    /// The upper 16 of 32 bits.
    Brain,
}

/// What a format's file has to say. One implementation a format, in `formats/<name>.rs`.
pub trait WeightFormat: Sync {
    /// Weights per stored block.
    fn block_weights(&self) -> usize;
    /// Bytes per stored block.
    fn block_bytes(&self) -> usize;
    /// Bytes at the start of a stored row, before its blocks: what they all share.
    fn row_header_bytes(&self) -> usize {
        0
    }
    /// Exact values of one stored row: `out.len() == blocks * block_weights`. The truth
    /// everything else is compared with.
    fn dequantize_row(&self, stored: &[u8], out: &mut [f32]);
    /// Rounds the values of one block, if this is a format that is written and they are within its
    /// range; whether they are. The same block on every machine.
    fn quantize(&self, _values: &[f32], _block: &mut [u8]) -> bool {
        false
    }
    /// How its weights are whole numbers; none for formats of numbers with many digits.
    fn integers(&self) -> Option<Integers> {
        None
    }
    /// The units of one stored row, the last filled up with zeros, if these weights are whole numbers.
    fn integer_units(&self, _stored: &[u8], _units: &mut [IntegerUnit]) {}
    /// How its weights are written, if they are floating-point numbers one after another.
    fn float_bits(&self) -> Option<FloatBits> {
        None
    }
    /// Bytes that one row of `columns` weights takes in each GPU plane (each a multiple of 4).
    fn plane_row_bytes(&self, columns: usize) -> Vec<usize>;
    /// Repacks one stored row into its planes (`planes[i].len() == plane_row_bytes(columns)[i]`,
    /// zeroed before the call).
    fn repack_row(&self, columns: usize, stored: &[u8], planes: &mut [&mut [u8]]);
    /// Whether no scale (float formats: no value) of one stored row is NaN or infinite. Looks at
    /// those alone, so it is cheap enough to run while weights stream in.
    fn is_finite(&self, stored: &[u8]) -> bool;
    /// Bits of a weight where weights are whole numbers times a scale, plus a number for several, so that
    /// products are those of `shaders/lib/products.wgsl` and can be computed in other numbers than f32.
    fn quant_bits(&self) -> Option<u32> {
        None
    }
    /// Values of the `override`s that the shader declares, all of them.
    fn constants(&self) -> Vec<(&'static str, f64)> {
        Vec::new()
    }
    /// WGSL that binds the planes in group 1 and defines
    /// `fn weights32(row: u32, unit: u32) -> Weights32` (contract: shaders/formats/README.md).
    fn shader(&self) -> &'static str;
}

impl Format {
    /// Every format, in the order of the documentation; of MLX's those that differ in more than
    /// how 16-bit scales are written.
    pub const ALL: [Format; 20] = [
        Format::F32,
        Format::F16,
        Format::BF16,
        Format::F8_E4M3,
        Format::Q8_0,
        Format::Q4_0,
        Format::Q4_1,
        Format::Q5_0,
        Format::Q5_1,
        Format::Q4_K,
        Format::Q5_K,
        Format::Q6_K,
        Format::T4,
        Format::MLX(Mlx::TRIED[0]),
        Format::MLX(Mlx::TRIED[1]),
        Format::MLX(Mlx::TRIED[2]),
        Format::MLX(Mlx::TRIED[3]),
        Format::MLX(Mlx::TRIED[4]),
        Format::MLX(Mlx::TRIED[5]),
        Format::MLX(Mlx::TRIED[6]),
    ];

    /// The field's name of the format, e.g. `Q4_1`.
    pub const fn name(self) -> &'static str {
        match self {
            Format::F32 => "F32",
            Format::F16 => "F16",
            Format::BF16 => "BF16",
            Format::F8_E4M3 => "F8_E4M3",
            Format::Q8_0 => "Q8_0",
            Format::Q4_0 => "Q4_0",
            Format::Q4_1 => "Q4_1",
            Format::Q5_0 => "Q5_0",
            Format::Q5_1 => "Q5_1",
            Format::Q4_K => "Q4_K",
            Format::Q5_K => "Q5_K",
            Format::Q6_K => "Q6_K",
            Format::T4 => "T4",
            Format::MLX(mlx) => mlx.name(),
        }
    }

    /// The stem of its file and its shader, e.g. `q4_1`.
    pub fn stem(self) -> String {
        match self {
            Format::MLX(_) => "mlx".to_owned(),
            _ => self.name().to_lowercase(),
        }
    }

    /// The format of that name, as [`Format::name`] writes it.
    pub fn from_name(name: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.name() == name)
    }

    /// The format's file.
    pub fn rules(&self) -> &dyn WeightFormat {
        match self {
            Format::F32 => &f32::F32,
            Format::F16 => &f16::F16,
            Format::BF16 => &bf16::BF16,
            Format::F8_E4M3 => &f8_e4m3::F8E4M3,
            Format::Q8_0 => &q8_0::Q8_0,
            Format::Q4_0 => &q4_0::Q4_0,
            Format::Q4_1 => &q4_1::Q4_1,
            Format::Q5_0 => &q5_0::Q5_0,
            Format::Q5_1 => &q5_1::Q5_1,
            Format::Q4_K => &q4_k::Q4K,
            Format::Q5_K => &q5_k::Q5K,
            Format::Q6_K => &q6_k::Q6K,
            Format::T4 => &t4::T4,
            Format::MLX(mlx) => mlx,
        }
    }

    /// The format in which a matrix of this one is held when `wanted` is asked for: that one where
    /// rows are whole blocks of it and become smaller, else this one.
    pub fn held_as(self, wanted: Option<Format>, columns: usize) -> Format {
        let row_bytes = |format: Format| format.row_bytes(columns).ok();
        match wanted {
            Some(wanted)
                if row_bytes(wanted).is_some_and(|bytes| Some(bytes) < row_bytes(self)) =>
            {
                wanted
            }
            _ => self,
        }
    }

    /// Bytes of one stored row of `columns` weights; `malformed` when the row is not whole blocks.
    pub fn row_bytes(self, columns: usize) -> Result<usize> {
        let rules = self.rules();
        let blocks = columns / rules.block_weights();
        if columns == 0 || !columns.is_multiple_of(rules.block_weights()) {
            return Err(Error::new(
                Code::Malformed,
                format!(
                    "row of {columns} weights, expected whole {} blocks of {}",
                    self.name(),
                    rules.block_weights()
                ),
            ));
        }
        let bytes = blocks.checked_mul(rules.block_bytes());
        bytes.and_then(|bytes| bytes.checked_add(rules.row_header_bytes())).ok_or_else(|| {
            Error::new(
                Code::Malformed,
                format!("row of {columns} weights does not fit into memory"),
            )
        })
    }

    /// Exact values of whole stored rows; errors as [`Format::row_bytes`].
    pub fn dequantize(self, columns: usize, stored: &[u8], out: &mut [f32]) -> Result<()> {
        let rows = stored.chunks_exact(self.row_bytes(columns)?);
        for (row, values) in rows.zip(out.chunks_exact_mut(columns)) {
            self.rules().dequantize_row(row, values);
        }
        Ok(())
    }

    /// Index of the first of these stored rows that has a NaN or infinite scale or, in the float
    /// formats, weight; errors as [`Format::row_bytes`].
    pub fn first_non_finite_row(self, columns: usize, stored: &[u8]) -> Result<Option<usize>> {
        let mut rows = stored.chunks_exact(self.row_bytes(columns)?);
        Ok(rows.position(|row| !self.rules().is_finite(row)))
    }

    /// The format that GGUF gives this number, if it is one of ours.
    pub const fn from_gguf_type(number: u32) -> Option<Format> {
        Some(match number {
            0 => Format::F32,
            1 => Format::F16,
            2 => Format::Q4_0,
            3 => Format::Q4_1,
            6 => Format::Q5_0,
            7 => Format::Q5_1,
            8 => Format::Q8_0,
            12 => Format::Q4_K,
            13 => Format::Q5_K,
            14 => Format::Q6_K,
            30 => Format::BF16,
            _ => return None,
        })
    }

    /// GGUF's number of the format, if it has one.
    pub const fn gguf_type(self) -> Option<u32> {
        Some(match self {
            Format::F32 => 0,
            Format::F16 => 1,
            Format::Q4_0 => 2,
            Format::Q4_1 => 3,
            Format::Q5_0 => 6,
            Format::Q5_1 => 7,
            Format::Q8_0 => 8,
            Format::Q4_K => 12,
            Format::Q5_K => 13,
            Format::Q6_K => 14,
            Format::BF16 => 30,
            Format::F8_E4M3 | Format::T4 | Format::MLX(_) => return None,
        })
    }

    /// GGUF's name for a type number, ours or not, for messages about formats we lack.
    pub const fn gguf_type_name(number: u32) -> Option<&'static str> {
        if let Some(format) = Format::from_gguf_type(number) {
            return Some(format.name());
        }
        Some(match number {
            4 => "Q4_2",
            5 => "Q4_3",
            9 => "Q8_1",
            10 => "Q2_K",
            11 => "Q3_K",
            15 => "Q8_K",
            16 => "IQ2_XXS",
            17 => "IQ2_XS",
            18 => "IQ3_XXS",
            19 => "IQ1_S",
            20 => "IQ4_NL",
            21 => "IQ3_S",
            22 => "IQ2_S",
            23 => "IQ4_XS",
            24 => "I8",
            25 => "I16",
            26 => "I32",
            27 => "I64",
            28 => "F64",
            29 => "IQ1_M",
            31 => "Q4_0_4_4",
            32 => "Q4_0_4_8",
            33 => "Q4_0_8_8",
            34 => "TQ1_0",
            35 => "TQ2_0",
            36 => "IQ4_NL_4_4",
            37 => "IQ4_NL_4_8",
            38 => "IQ4_NL_8_8",
            39 => "MXFP4",
            40 => "NVFP4",
            41 => "Q1_0",
            _ => return None,
        })
    }

    /// The safetensors element type that this format is, if it is one.
    pub fn safetensors_dtype(self) -> Option<&'static str> {
        Format::from_safetensors_dtype(self.name()).map(|_| self.name())
    }

    /// The format of a safetensors element type (`F32`, `F16`, `BF16`), if it is one of ours.
    pub fn from_safetensors_dtype(dtype: &str) -> Option<Format> {
        match dtype {
            "F32" => Some(Format::F32),
            "F16" => Some(Format::F16),
            "BF16" => Some(Format::BF16),
            _ => None,
        }
    }
}
