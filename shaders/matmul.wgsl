// y[row, FIRST_ROW + o] = Σ_k weights[o, k] · x[row, k], for many rows.
// A workgroup computes a tile of 32 outputs × 32 rows, going through k by units of 32:
// it unpacks the tile's weights and stages the tile's inputs in workgroup memory.
// An invocation computes 4 outputs × 4 rows.
// Imports from the weight format: weights32.
#import lib/step
#import lib/weights32
override ABOVE: u32; // rows of other tensors above the first
override COLUMNS: u32;
override FIRST_ROW: u32;
override ROWS: u32;
override X_STRIDE: u32;
override Y_STRIDE: u32;

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [rows, X_STRIDE / 4]
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // [rows, Y_STRIDE]

var<workgroup> weights: array<vec4<f32>, 256>; // [8 quads of k, 32 outputs]
var<workgroup> inputs: array<vec4<f32>, 256>; // [8 quads of k, 32 rows]

fn stage(lane: u32, first_output: u32, first_row: u32, unit: u32) {
    if (lane < 32u) {
        let w = weights32(ABOVE + min(first_output + lane, ROWS - 1u), unit);
        weights[lane] = w.w0;
        weights[32u + lane] = w.w1;
        weights[64u + lane] = w.w2;
        weights[96u + lane] = w.w3;
        weights[128u + lane] = w.w4;
        weights[160u + lane] = w.w5;
        weights[192u + lane] = w.w6;
        weights[224u + lane] = w.w7;
    } else {
        let row = lane - 32u;
        let i = min(first_row + row, step.rows - 1u) * (X_STRIDE / 4u) + unit * 8u;
        inputs[row] = x[i];
        inputs[32u + row] = x[i + 1u];
        inputs[64u + row] = x[i + 2u];
        inputs[96u + row] = x[i + 3u];
        inputs[128u + row] = x[i + 4u];
        inputs[160u + row] = x[i + 5u];
        inputs[192u + row] = x[i + 6u];
        inputs[224u + row] = x[i + 7u];
    }
}

fn products(w0: vec4<f32>, w1: vec4<f32>, w2: vec4<f32>, w3: vec4<f32>, v: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(dot(w0, v), dot(w1, v), dot(w2, v), dot(w3, v));
}

fn store(row: u32, output: u32, sums: vec4<f32>) {
    if (row >= step.rows) {
        return;
    }
    let i = row * Y_STRIDE + FIRST_ROW + output;
    if (output < ROWS) { y[i] = sums.x; }
    if (output + 1u < ROWS) { y[i + 1u] = sums.y; }
    if (output + 2u < ROWS) { y[i + 2u] = sums.z; }
    if (output + 3u < ROWS) { y[i + 3u] = sums.w; }
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first_output = group.x * 32u;
    let first_row = group.y * 32u;
    let o = (lane % 8u) * 4u;
    let r = (lane / 8u) * 4u;
    var sums0 = vec4<f32>();
    var sums1 = vec4<f32>();
    var sums2 = vec4<f32>();
    var sums3 = vec4<f32>();
    for (var unit = 0u; unit * 32u < COLUMNS; unit++) {
        stage(lane, first_output, first_row, unit);
        workgroupBarrier();
        for (var quad = 0u; quad < 256u; quad += 32u) {
            let w0 = weights[quad + o];
            let w1 = weights[quad + o + 1u];
            let w2 = weights[quad + o + 2u];
            let w3 = weights[quad + o + 3u];
            sums0 += products(w0, w1, w2, w3, inputs[quad + r]);
            sums1 += products(w0, w1, w2, w3, inputs[quad + r + 1u]);
            sums2 += products(w0, w1, w2, w3, inputs[quad + r + 2u]);
            sums3 += products(w0, w1, w2, w3, inputs[quad + r + 3u]);
        }
        workgroupBarrier();
    }
    store(first_row + r, first_output + o, sums0);
    store(first_row + r + 1u, first_output + o, sums1);
    store(first_row + r + 2u, first_output + o, sums2);
    store(first_row + r + 3u, first_output + o, sums3);
}
