//! Importable files of `shaders/`: everything but the kernels and the weight formats.

/// The optional WebGPU feature that a file uses, by its name in an adapter's report.
pub fn shader_feature(file: &str) -> Option<&'static str> {
    match file {
        "arithmetic/f16" => Some("shader-f16"),
        "loads/inputs_broadcast4"
        | "loads/inputs_broadcast4_int10x2"
        | "loads/inputs_broadcast8"
        | "loads/rows_broadcast4"
        | "loads/vectors_broadcast4"
        | "reductions/subgroup_reduce" => Some("subgroups"),
        _ => None,
    }
}

macro_rules! pieces {
    ($($name:literal),+ $(,)?) => {
        /// Names of the importable files, e.g. `lib/step`, in alphabetical order.
        pub const SHADER_PIECES: &[&str] = &[$($name),+];

        /// The text of an importable file by its name.
        pub fn shader_piece(name: &str) -> Option<&'static str> {
            Some(match name {
                $($name => include_wgsl!(concat!("../../shaders/", $name, ".wgsl")),)+
                _ => return None,
            })
        }
    };
}

pieces! {
    "arithmetic/dp4a",
    "arithmetic/f16",
    "arithmetic/f32",
    "arithmetic/int10x2",
    "biases/none",
    "biases/vector",
    "caches/f16",
    "caches/f16_pairs",
    "caches/f16_store",
    "caches/f32",
    "caches/f32_pairs",
    "caches/f32_store",
    "caches/q8",
    "caches/q8_store",
    "epilogues/best",
    "epilogues/gated",
    "epilogues/head_partial_norm",
    "epilogues/head_store",
    "epilogues/heads",
    "epilogues/normed_partial_norm",
    "epilogues/normed_store",
    "epilogues/rows",
    "epilogues/unit_partial_norm",
    "epilogues/unit_store",
    "functions/activation",
    "functions/none",
    "head_norms/head_rms",
    "head_norms/none",
    "lib/bytes32",
    "lib/dot32",
    "lib/e4m3",
    "lib/fp4",
    "lib/function",
    "lib/halves",
    "lib/iq4",
    "lib/logistic",
    "lib/noise",
    "lib/quads",
    "lib/reduce",
    "lib/ring",
    "lib/sampling",
    "lib/splits",
    "lib/ssm",
    "lib/ssm_gate",
    "lib/step",
    "lib/tanh",
    "lib/weights32",
    "loads/broadcast_lane",
    "loads/inputs_broadcast4",
    "loads/inputs_broadcast4_int10x2",
    "loads/inputs_broadcast8",
    "loads/inputs_per_lane",
    "loads/rows_broadcast4",
    "loads/rows_per_lane",
    "loads/vectors_broadcast4",
    "loads/vectors_per_lane",
    "partial_norms/none",
    "partial_norms/partial_rms",
    "prologues/plain",
    "prologues/rms",
    "prologues/rms_by_parts",
    "reductions/lane_per_quad",
    "reductions/subgroup_reduce",
    "reductions/workgroup_reduce",
    "residuals/add",
    "residuals/none",
    "sinks/none",
    "sinks/vector",
    "tilings/registers",
    "tilings/workgroup_memory",
}
