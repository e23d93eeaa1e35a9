// y = silu(gate) · up, silu(x) = x / (1 + e^-x): the SwiGLU gate.
// A workgroup computes 64 columns of one row, an invocation one column.
override WIDTH: u32;
override STRIDE: u32;

@group(0) @binding(1) var<storage, read> gate: array<f32>; // [rows, STRIDE]
@group(0) @binding(2) var<storage, read> up: array<f32>; // [rows, STRIDE]
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [rows, STRIDE]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < WIDTH) {
        let i = id.y * STRIDE + id.x;
        let x = gate[i];
        // Below -88 the exponential overflows in f32; the quotient is then -0, as it should be.
        y[i] = x / (1.0 + exp(-max(x, -88.0))) * up[i];
    }
}
