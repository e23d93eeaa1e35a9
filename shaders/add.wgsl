// y = a + b: a residual, a vector for each position, or with B_STRIDE 0 a bias that is added to all
// rows.
// A workgroup adds 64 columns of one row, an invocation one column.
override WIDTH: u32;
override STRIDE: u32;
override B_STRIDE: u32; // words from row to row of b, 0 for a bias

@group(0) @binding(1) var<storage, read> a: array<f32>; // [rows, STRIDE]
@group(0) @binding(2) var<storage, read> b: array<f32>; // [rows, B_STRIDE] or [WIDTH]
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [rows, STRIDE]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < WIDTH) {
        let i = id.y * STRIDE + id.x;
        y[i] = a[i] + b[id.y * B_STRIDE + id.x];
    }
}
