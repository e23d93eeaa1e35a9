// y[row, o] = output(f(SCALE · (Σ_k weights[o, k] · x[row, k] + bias[o]))), for many rows.
// The tiling, a file of tilings/, decides which outputs of which rows a workgroup computes, and how
// its invocations ("lanes") share them:
//   TILE_LANES: invocations of a workgroup;
//   compute_tile(group, lane): called once, by the whole workgroup; computes the sums of its tile
//   and calls finish_quad for each row and quad of outputs, which ignores those past the ends.
// Bias, function and epilogue are as in matvec.wgsl, except that no epilogue can sum over a
// workgroup.
#import lib/step
#import lib/weights32
#import bias
#import function
#import epilogue
#import tiling
override ROW_OFFSET: u32; // rows of the stack before this tensor
override COLUMNS: u32;
override ROWS: u32;
override SCALE: f32;
override X_STRIDE: u32;

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [rows, X_STRIDE / 4]

// Sums of two quads of outputs, a and b, for four rows: a vector has an output of each row.
struct Sums {
    a0: vec4<f32>,
    a1: vec4<f32>,
    a2: vec4<f32>,
    a3: vec4<f32>,
    b0: vec4<f32>,
    b1: vec4<f32>,
    b2: vec4<f32>,
    b3: vec4<f32>,
}

// Index in x of a unit of a row's inputs. Rows past the end repeat the last one; their sums are not
// written.
fn input_start(row: u32, unit: u32) -> u32 {
    return min(row, step.rows - 1u) * (X_STRIDE / 4u) + unit * 8u;
}

// Weight rows of a quad of outputs; those past the end repeat the last one.
fn weight_rows(quad: u32) -> vec4<u32> {
    return min(quad_rows(quad), vec4<u32>(ROWS - 1u));
}

fn finish_quad(row: u32, quad: u32, sums: vec4<f32>) {
    if (row < step.rows) {
        finish(0u, true, row, quad, activated(SCALE * biased(weight_rows(quad), sums)));
    }
}

@compute @workgroup_size(TILE_LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    compute_tile(group.xy, lane);
}
