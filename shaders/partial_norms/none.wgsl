// Partial norm of a product whose outputs need none.
fn partial_norm(lane: u32, owns: bool, row: u32, quad: u32, values: vec4<f32>) {}
