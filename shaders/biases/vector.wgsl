// Bias of a product: sums + bias, with an element for each weight row.
const BIASES = 1; // number of bindings

@group(0) @binding(2) var<storage, read> bias: array<f32>; // [ROWS]

fn biased(rows: vec4<u32>, sums: vec4<f32>) -> vec4<f32> {
    return sums + vec4<f32>(bias[rows.x], bias[rows.y], bias[rows.z], bias[rows.w]);
}
