// Residual of an epilogue that has none.
const RESIDUALS = 0; // number of bindings

fn residual_at(i: u32) -> f32 {
    return 0.0;
}
