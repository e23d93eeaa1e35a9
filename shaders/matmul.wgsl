// y[row, FIRST_ROW + o] = Σ_k weights[o, k] · x[row, k], for many rows.
// An invocation computes 4 rows × 8 outputs, a unit of 32 k at a time: it reads the unit of its
// rows, then unpacks the unit of one output after the other. Loads are what costs, and nothing
// passes through workgroup memory, which is dearer still on software adapters. A workgroup's 64
// invocations are 8 × 8 of them, for few rows fewer × more.
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

// A unit of four rows.
struct Rows4 {
    r0: Inputs32,
    r1: Inputs32,
    r2: Inputs32,
    r3: Inputs32,
}

// Rows past the end repeat the last one; their sums are not written.
fn inputs(row: u32, unit: u32) -> Inputs32 {
    let i = min(row, step.rows - 1u) * (X_STRIDE / 4u) + unit * 8u;
    return inputs32(x[i], x[i + 1u], x[i + 2u], x[i + 3u], x[i + 4u], x[i + 5u], x[i + 6u], x[i + 7u]);
}

fn rows4(row: u32, unit: u32) -> Rows4 {
    return Rows4(
        inputs(row, unit), inputs(row + 1u, unit), inputs(row + 2u, unit), inputs(row + 3u, unit),
    );
}

// An output, past the end the last one once more, for four rows.
fn products(output: u32, unit: u32, v: Rows4) -> vec4<f32> {
    let w = weights32(ABOVE + min(output, ROWS - 1u), unit);
    return vec4<f32>(dot_weights(w, v.r0), dot_weights(w, v.r1), dot_weights(w, v.r2), dot_weights(w, v.r3));
}

// One output of four rows.
fn store(row: u32, output: u32, sums: vec4<f32>) {
    if (output >= ROWS) {
        return;
    }
    let i = row * Y_STRIDE + FIRST_ROW + output;
    if (row < step.rows) { y[i] = sums.x; }
    if (row + 1u < step.rows) { y[i + Y_STRIDE] = sums.y; }
    if (row + 2u < step.rows) { y[i + 2u * Y_STRIDE] = sums.z; }
    if (row + 3u < step.rows) { y[i + 3u * Y_STRIDE] = sums.w; }
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    // Enough for the rows, a power of two, at most 8: as `Matmul::row_lanes` has it.
    let row_lanes = min(1u << (32u - countLeadingZeros((step.rows - 1u) / 4u)), 8u);
    let row = (group.y * row_lanes + lane % row_lanes) * 4u;
    let output = (group.x * (64u / row_lanes) + lane / row_lanes) * 8u;
    var sums0 = vec4<f32>();
    var sums1 = vec4<f32>();
    var sums2 = vec4<f32>();
    var sums3 = vec4<f32>();
    var sums4 = vec4<f32>();
    var sums5 = vec4<f32>();
    var sums6 = vec4<f32>();
    var sums7 = vec4<f32>();
    for (var unit = 0u; unit * 32u < COLUMNS; unit++) {
        let v = rows4(row, unit);
        sums0 += products(output, unit, v);
        sums1 += products(output + 1u, unit, v);
        sums2 += products(output + 2u, unit, v);
        sums3 += products(output + 3u, unit, v);
        sums4 += products(output + 4u, unit, v);
        sums5 += products(output + 5u, unit, v);
        sums6 += products(output + 6u, unit, v);
        sums7 += products(output + 7u, unit, v);
    }
    store(row, output, sums0);
    store(row, output + 1u, sums1);
    store(row, output + 2u, sums2);
    store(row, output + 3u, sums3);
    store(row, output + 4u, sums4);
    store(row, output + 5u, sums5);
    store(row, output + 6u, sums6);
    store(row, output + 7u, sums7);
}
