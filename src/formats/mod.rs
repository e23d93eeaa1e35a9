//! Weight formats: the stored block, its exact dequantization, and its planes on the GPU.
//!
//! One file per format, or per family of formats that differ only in parameters. To add a format:
//! its file, its row in [`registry`], a shader of the same name in `shaders/formats/`, and golden
//! blocks in `tests/data/formats/`.

#[macro_use]
pub(crate) mod wgsl;

mod bits;
mod integers;
mod registry;
mod rules;

mod bf16;
mod f16;
mod f32;
mod f8_e4m3;
mod int;
mod iq2;
mod iq3;
mod iq4_nl;
mod iq4_xs;
mod iq_grids;
mod mlx;
mod mxfp4;
mod mxfp8;
mod nvfp4;
mod q1_0;
mod q2_0;
mod q2_k;
mod q3_k;
mod q4_0;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_1;
mod q5_k;
mod q6_k;
mod q8_0;
mod t4;

pub use bits::UNIT;
pub use int::Int;
pub use integers::{Curve, IntegerQuants, IntegerUnit, Levels};
pub use mlx::{Mlx, MlxScales};
pub use registry::Format;
pub use rules::{FloatKind, MAX_PLANES, WeightFormat};
