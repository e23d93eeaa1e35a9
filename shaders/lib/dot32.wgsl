// Products weight by weight, for formats that have no shorter way.
fn dot32(row: u32, unit: u32, v: Inputs32) -> f32 {
    return dot_weights(weights32(row, unit), v);
}
