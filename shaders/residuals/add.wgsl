// Residual that an epilogue adds: residual + outputs.
const RESIDUALS = 1; // number of bindings

@group(0) @binding(3 + BIASES) var<storage, read> residual: array<f32>; // [rows, Y_STRIDE]

fn residual_at(i: u32) -> f32 {
    return residual[i];
}
