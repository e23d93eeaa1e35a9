// y = f(x), f chosen by FUNCTION.
// A workgroup computes 64 columns of one row, an invocation one column.
#import lib/function
override WIDTH: u32;
override X_STRIDE: u32;
override STRIDE: u32;

@group(0) @binding(1) var<storage, read> x: array<f32>; // [rows, X_STRIDE]
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // [rows, STRIDE]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < WIDTH) {
        y[id.y * STRIDE + id.x] = function_of(x[id.y * X_STRIDE + id.x]);
    }
}
