// y = σ(gate of the head) · x, for heads of HEAD_DIM columns.
// A workgroup computes 64 columns of one row, an invocation one column.
#import lib/logistic
override WIDTH: u32;
override STRIDE: u32;
override X_STRIDE: u32;
override GATES_STRIDE: u32;
override HEAD_DIM: u32;

@group(0) @binding(1) var<storage, read> x: array<f32>; // [rows, X_STRIDE]
@group(0) @binding(2) var<storage, read> gates: array<f32>; // [rows, GATES_STRIDE]
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [rows, STRIDE]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < WIDTH) {
        let gate = logistic(gates[id.y * GATES_STRIDE + id.x / HEAD_DIM]);
        y[id.y * STRIDE + id.x] = gate * x[id.y * X_STRIDE + id.x];
    }
}
