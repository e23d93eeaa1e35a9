// y[row, FIRST_ROW + o] = Σ_k weights[o, k] · x[row, k], for few rows.
// LANES invocations share a tile of four outputs, each taking every LANES-th unit of 32
// weights; a workgroup has 64 / LANES tiles of one row.
// Imports from the weight format: weights32.
#import lib/weights32
override COLUMNS: u32;
override FIRST_ROW: u32;
override ROWS: u32;
override X_STRIDE: u32;
override Y_STRIDE: u32;
override LANES: u32; // a power of two, at most 64

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [rows, X_STRIDE / 4]
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // [rows, Y_STRIDE]

var<workgroup> partial: array<vec4<f32>, 64>;

struct Inputs32 {
    x0: vec4<f32>,
    x1: vec4<f32>,
    x2: vec4<f32>,
    x3: vec4<f32>,
    x4: vec4<f32>,
    x5: vec4<f32>,
    x6: vec4<f32>,
    x7: vec4<f32>,
}

fn dot32(w: Weights32, v: Inputs32) -> f32 {
    return dot(w.w0, v.x0) + dot(w.w1, v.x1) + dot(w.w2, v.x2) + dot(w.w3, v.x3)
        + dot(w.w4, v.x4) + dot(w.w5, v.x5) + dot(w.w6, v.x6) + dot(w.w7, v.x7);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let slot = lane % LANES;
    let first = (group.x * (64u / LANES) + lane / LANES) * 4u;
    // Rows past the end repeat the last one; their sums are not written.
    let last = ROWS - 1u;
    let r0 = min(first, last);
    let r1 = min(first + 1u, last);
    let r2 = min(first + 2u, last);
    let r3 = min(first + 3u, last);
    let row = group.y * (X_STRIDE / 4u);
    var sums = vec4<f32>();
    for (var unit = slot; unit * 32u < COLUMNS; unit += LANES) {
        let i = row + unit * 8u;
        let v = Inputs32(x[i], x[i + 1u], x[i + 2u], x[i + 3u], x[i + 4u], x[i + 5u], x[i + 6u], x[i + 7u]);
        sums.x += dot32(weights32(r0, unit), v);
        sums.y += dot32(weights32(r1, unit), v);
        sums.z += dot32(weights32(r2, unit), v);
        sums.w += dot32(weights32(r3, unit), v);
    }
    partial[lane] = sums;
    workgroupBarrier();
    if (slot == 0u) {
        // One barrier and a short loop: on software adapters a barrier costs more than the sums.
        var total = sums;
        for (var other = lane + 1u; other < lane + LANES; other++) {
            total += partial[other];
        }
        let out = group.y * Y_STRIDE + FIRST_ROW + first;
        if (first < ROWS) { y[out] = total.x; }
        if (first + 1u < ROWS) { y[out + 1u] = total.y; }
        if (first + 2u < ROWS) { y[out + 2u] = total.z; }
        if (first + 3u < ROWS) { y[out + 3u] = total.w; }
    }
}
