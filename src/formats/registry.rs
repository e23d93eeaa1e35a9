//! The registry: one row per weight format, with its file and its names in checkpoints.

use super::int::Int;
use super::mlx::Mlx;
use super::rules::WeightFormat;
use super::{bf16, f8_e4m3, f16, f32, iq2, iq3, iq4_nl, iq4_xs, mxfp4, mxfp8, nvfp4, t4};
use super::{q1_0, q2_0, q2_k, q3_k, q4_0, q4_1, q4_k, q5_0, q5_1, q5_k, q6_k, q8_0};
use crate::error::{Code, Error, Result};

/// Properties of a format that the registry states.
struct Row<'a> {
    /// Established name, e.g. `Q4_1`.
    name: &'static str,
    /// File stem of its Rust source and its shader, e.g. `q4_1`.
    stem: &'static str,
    /// The implementation.
    rules: &'a dyn WeightFormat,
    /// `ggml_type` in GGUF.
    gguf_type: Option<u32>,
    /// Element type in safetensors.
    safetensors_dtype: Option<&'static str>,
}

/// Defines [`Format`] and its rows. MLX's affine formats and grouped integers are families: their
/// members differ in the parameters that [`Mlx`] and [`Int`] hold, and no checkpoint names them as
/// an element type.
macro_rules! registry {
    ($($name:ident: $file:ident::$rules:ident, $gguf_type:expr, $safetensors_dtype:expr;)+) => {
        /// Storage format of a tensor's weights.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[expect(non_camel_case_types, reason = "established names")]
        #[expect(missing_docs, reason = "documented in each format's file")]
        pub enum Format {
            $($name,)+
            MLX(Mlx),
            INT(Int),
        }

        /// Formats that are not members of a family.
        const SINGLE: &[Format] = &[$(Format::$name),+];

        impl Format {
            const fn row(&self) -> Row<'_> {
                match self {
                    $(Format::$name => Row {
                        name: stringify!($name),
                        stem: stringify!($file),
                        rules: &$file::$rules,
                        gguf_type: $gguf_type,
                        safetensors_dtype: $safetensors_dtype,
                    },)+
                    Format::MLX(mlx) => Row {
                        name: mlx.name(),
                        stem: "mlx",
                        rules: mlx,
                        gguf_type: None,
                        safetensors_dtype: None,
                    },
                    Format::INT(int) => Row {
                        name: int.name(),
                        stem: "int",
                        rules: int,
                        gguf_type: None,
                        safetensors_dtype: None,
                    },
                }
            }
        }
    };
}

registry! {
    // Name:  implementation,    ggml_type, safetensors dtype
    F32:      f32::F32,          Some(0),   Some("F32");
    F16:      f16::F16,          Some(1),   Some("F16");
    BF16:     bf16::BF16,        Some(30),  Some("BF16");
    F8_E4M3:  f8_e4m3::F8E4M3,   None,      None;
    F8_E4M3_128: f8_e4m3::F8E4M3Blocks, None, None;
    Q8_0:     q8_0::Q8_0,        Some(8),   None;
    Q1_0:     q1_0::Q1_0,        Some(41),  None;
    Q2_0:     q2_0::Q2_0,        Some(42),  None;
    Q4_0:     q4_0::Q4_0,        Some(2),   None;
    Q4_1:     q4_1::Q4_1,        Some(3),   None;
    Q5_0:     q5_0::Q5_0,        Some(6),   None;
    Q5_1:     q5_1::Q5_1,        Some(7),   None;
    Q2_K:     q2_k::Q2K,         Some(10),  None;
    Q3_K:     q3_k::Q3K,         Some(11),  None;
    Q4_K:     q4_k::Q4K,         Some(12),  None;
    Q5_K:     q5_k::Q5K,         Some(13),  None;
    Q6_K:     q6_k::Q6K,         Some(14),  None;
    IQ2_XXS:  iq2::XXS,          Some(16),  None;
    IQ2_XS:   iq2::XS,           Some(17),  None;
    IQ2_S:    iq2::S,            Some(22),  None;
    IQ3_XXS:  iq3::XXS,          Some(18),  None;
    IQ3_S:    iq3::S,            Some(21),  None;
    IQ4_NL:   iq4_nl::Iq4Nl,     Some(20),  None;
    IQ4_XS:   iq4_xs::Iq4Xs,     Some(23),  None;
    MXFP4:    mxfp4::Mxfp4,      Some(39),  None;
    MXFP8:    mxfp8::Mxfp8,      None,      None;
    NVFP4:    nvfp4::Nvfp4,      Some(40),  None;
    NVFP4_F32: nvfp4::Nvfp4F32,  None,      None;
    T4:       t4::T4,            None,      None;
}

/// Names of the `ggml_type` numbers that no row has (ggml's `ggml.h`), for error messages.
const OTHER_GGUF_TYPES: &[(u32, &str)] = &[
    (4, "Q4_2"),
    (5, "Q4_3"),
    (9, "Q8_1"),
    (15, "Q8_K"),
    (19, "IQ1_S"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (31, "Q4_0_4_4"),
    (32, "Q4_0_4_8"),
    (33, "Q4_0_8_8"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (36, "IQ4_NL_4_4"),
    (37, "IQ4_NL_4_8"),
    (38, "IQ4_NL_8_8"),
];

impl Format {
    /// All formats, in the order of the registry. MLX's affine formats and grouped integers are
    /// listed with each number of bits, group size and encoding of scales, in some of the
    /// combinations.
    pub const ALL: [Format; SINGLE.len() + Mlx::TESTED.len() + Int::TESTED.len()] = {
        let mut all = [Format::F32; SINGLE.len() + Mlx::TESTED.len() + Int::TESTED.len()];
        let ints = SINGLE.len() + Mlx::TESTED.len();
        let mut index = 0;
        while index < all.len() {
            all[index] = if index < SINGLE.len() {
                SINGLE[index]
            } else if index < ints {
                Format::MLX(Mlx::TESTED[index - SINGLE.len()])
            } else {
                Format::INT(Int::TESTED[index - ints])
            };
            index += 1;
        }
        all
    };

    /// Established name of the format, e.g. `Q4_1`.
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// File stem of the format's Rust source and of its shader, e.g. `q4_1`.
    pub const fn stem(self) -> &'static str {
        self.row().stem
    }

    /// The format with that [`Format::name`].
    pub fn from_name(name: &str) -> Option<Format> {
        let single = SINGLE.iter().copied().find(|format| format.name() == name);
        let mlx = || Mlx::from_name(name).map(Format::MLX);
        single.or_else(mlx).or_else(|| Int::from_name(name).map(Format::INT))
    }

    /// The format's implementation.
    pub const fn rules(&self) -> &dyn WeightFormat {
        self.row().rules
    }

    /// Format in which a matrix of `columns` weights per row is held in memory when `target` is
    /// requested: the target if rows are whole blocks of it and become smaller, else this format.
    pub fn held_as(self, target: Option<Format>, columns: usize) -> Format {
        let row_bytes = |format: Format| format.row_bytes(columns).ok();
        let shrinks = |target| row_bytes(target).is_some_and(|bytes| Some(bytes) < row_bytes(self));
        target.filter(|target| shrinks(*target)).unwrap_or(self)
    }

    /// Bytes of one stored row of `columns` weights; `malformed` if the row is not whole blocks.
    pub fn row_bytes(self, columns: usize) -> Result<usize> {
        let rules = self.rules();
        let (name, block_weights) = (self.name(), rules.block_weights());
        if columns == 0 || !columns.is_multiple_of(block_weights) {
            let message = format!(
                "{name} row: found {columns} weights, expected whole blocks of {block_weights}"
            );
            return Err(Error::new(Code::Malformed, message));
        }
        let bytes = (columns / block_weights).checked_mul(rules.block_bytes());
        bytes.and_then(|bytes| bytes.checked_add(rules.row_header_bytes())).ok_or_else(|| {
            let message =
                format!("{name} row: found {columns} weights, expected a row that fits memory");
            Error::new(Code::Malformed, message)
        })
    }

    /// Dequantizes whole stored rows exactly; errors as [`Format::row_bytes`].
    pub fn dequantize(self, columns: usize, stored: &[u8], out: &mut [f32]) -> Result<()> {
        let rows = stored.chunks_exact(self.row_bytes(columns)?);
        for (row, values) in rows.zip(out.chunks_exact_mut(columns)) {
            self.rules().dequantize_row(row, values);
        }
        Ok(())
    }

    /// Index of the first stored row that has a NaN or infinite scale (float formats: weight);
    /// errors as [`Format::row_bytes`].
    pub fn first_non_finite_row(self, columns: usize, stored: &[u8]) -> Result<Option<usize>> {
        let mut rows = stored.chunks_exact(self.row_bytes(columns)?);
        Ok(rows.position(|row| !self.rules().is_finite(row)))
    }

    /// The format with that `ggml_type`.
    pub fn from_gguf_type(number: u32) -> Option<Format> {
        SINGLE.iter().copied().find(|format| format.gguf_type() == Some(number))
    }

    /// `ggml_type` of the format, if GGUF has it.
    pub const fn gguf_type(self) -> Option<u32> {
        self.row().gguf_type
    }

    /// Name of a `ggml_type`, supported or not, for error messages.
    pub fn gguf_type_name(number: u32) -> Option<&'static str> {
        let other = || OTHER_GGUF_TYPES.iter().find(|(other, _)| *other == number);
        match Format::from_gguf_type(number) {
            Some(format) => Some(format.name()),
            None => other().map(|(_, name)| *name),
        }
    }

    /// Element type of the format in safetensors, if it is one (`F32`, `F16`, `BF16`).
    pub const fn safetensors_dtype(self) -> Option<&'static str> {
        self.row().safetensors_dtype
    }

    /// The format of a safetensors element type.
    pub fn from_safetensors_dtype(dtype: &str) -> Option<Format> {
        SINGLE.iter().copied().find(|format| format.safetensors_dtype() == Some(dtype))
    }
}
