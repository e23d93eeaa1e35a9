// y[0] = x[rows - 1]: the only row of a prompt whose logits are needed.
// A workgroup copies 64 columns, an invocation one.
#import lib/step
override WIDTH: u32;
override STRIDE: u32;

@group(0) @binding(1) var<storage, read> x: array<f32>; // [rows, STRIDE]
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // [1, STRIDE]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < WIDTH) {
        y[id.x] = x[(step.rows - 1u) * STRIDE + id.x];
    }
}
