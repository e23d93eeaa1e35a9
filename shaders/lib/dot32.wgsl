// dot32 weight by weight, for formats whose units have no common scale or offset.
fn dot32(row: u32, unit: u32, v: Inputs32) -> f32 {
    return dot_weights(weights32(row, unit), v);
}
