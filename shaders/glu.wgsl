// y = f(gate) · up, f chosen by FUNCTION: a gated linear unit (Shazeer 2020).
// A workgroup computes 64 columns of one row, an invocation one column.
#import lib/function
override WIDTH: u32;
override STRIDE: u32;

@group(0) @binding(1) var<storage, read> gate: array<f32>; // [rows, STRIDE]
@group(0) @binding(2) var<storage, read> up: array<f32>; // [rows, STRIDE]
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [rows, STRIDE]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < WIDTH) {
        let i = id.y * STRIDE + id.x;
        y[i] = function_of(gate[i]) * up[i];
    }
}
