// Products weight by weight, for formats that have no shorter way.
fn dot32(row: u32, unit: u32, v: Inputs32) -> f32 {
    let w = weights32(row, unit);
    return dot(w.w0, v.x0) + dot(w.w1, v.x1) + dot(w.w2, v.x2) + dot(w.w3, v.x3)
        + dot(w.w4, v.x4) + dot(w.w5, v.x5) + dot(w.w6, v.x6) + dot(w.w7, v.x7);
}
