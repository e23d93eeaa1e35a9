// y[row, o] = Σ_k weights[o, k] · x[row, k], for many rows.
// The tile says which outputs of which rows a workgroup computes, and how its invocations share them:
//   TILE_LANES: invocations of a workgroup;
//   compute_tile(group, lane): called once, by the whole workgroup; calls finish_quad for all quads
//   of outputs of all rows, and past the ends of both as it likes.
// Bias and epilogue are as in matvec.wgsl: an epilogue that sums over a workgroup has no place here.
#import lib/step
#import lib/weights32
#import bias
#import epilogue
#import tile
override ABOVE: u32; // rows of other tensors above the first
override COLUMNS: u32;
override ROWS: u32;
override X_STRIDE: u32;

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [rows, X_STRIDE / 4]

// Where the unit of a row's inputs begins in x. Rows past the end repeat the last one; their sums
// are not written.
fn input_start(row: u32, unit: u32) -> u32 {
    return min(row, step.rows - 1u) * (X_STRIDE / 4u) + unit * 8u;
}

// The rows of the weights that make a quad of outputs, past the end the last one once more.
fn weight_rows(quad: u32) -> vec4<u32> {
    return min(quad_rows(quad), vec4<u32>(ROWS - 1u));
}

fn finish_quad(row: u32, quad: u32, sums: vec4<f32>) {
    if (row < step.rows) {
        finish(0u, true, row, quad, biased(weight_rows(quad), sums));
    }
}

@compute @workgroup_size(TILE_LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    compute_tile(group.xy, lane);
}
