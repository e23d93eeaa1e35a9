// y = max(x, 0)².
// A workgroup computes 64 columns of one row, an invocation one column.
override WIDTH: u32;
override STRIDE: u32;

@group(0) @binding(1) var<storage, read> x: array<f32>; // [rows, STRIDE]
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // [rows, STRIDE]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < WIDTH) {
        let positive = max(x[id.y * STRIDE + id.x], 0.0);
        y[id.y * STRIDE + id.x] = positive * positive;
    }
}
