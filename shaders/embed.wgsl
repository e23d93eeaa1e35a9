// y[row] = matrix[tokens[row]] for the tokens in FIRST_ROW .. FIRST_ROW + ROWS.
// A workgroup writes 64 units of one row, an invocation one unit of 32 columns.
// Imports from the weight format: weights32.
#import lib/weights32
override COLUMNS: u32;
override FIRST_ROW: u32;
override ROWS: u32;
override STRIDE: u32;

@group(0) @binding(1) var<storage, read> tokens: array<u32>; // [rows]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>; // [rows, STRIDE / 4]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let token = tokens[id.y];
    if (id.x * 32u >= COLUMNS || token < FIRST_ROW || token - FIRST_ROW >= ROWS) {
        return;
    }
    let w = weights32(token - FIRST_ROW, id.x);
    let i = id.y * (STRIDE / 4u) + id.x * 8u;
    y[i] = w.w0;
    y[i + 1u] = w.w1;
    y[i + 2u] = w.w2;
    y[i + 3u] = w.w3;
    y[i + 4u] = w.w4;
    y[i + 5u] = w.w5;
    y[i + 6u] = w.w6;
    y[i + 7u] = w.w7;
}
