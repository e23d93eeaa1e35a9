// y = x · rsqrt(mean(x²) + EPSILON) · weight + residual (Zhang & Sennrich 2019), the mean taken
// over WIDTH columns: a row, or a part of it.
// A workgroup norms one row or part; an invocation takes every 64th column.
// The residual, a file of residuals/, and the epilogue, a file of epilogues/, define
//   RESIDUALS: number of bindings of the residual;
//   residual_at(i): the residual of y[i], 0 without one;
//   begin_norm(row, column, value): if a norm of y follows, writes value · its weight and returns
//   value²;
//   finish_row(lane, row, square): called last, by the whole workgroup.
#import lib/reduce
#import residual
#import epilogue
override WIDTH: u32;
override Y_STRIDE: u32; // of x, y and the residual
override EPSILON: f32;
override WEIGHT_STEP: u32; // from part to part: WIDTH, or 0 if all parts share one weight

const BIASES = 1; // binding 2, which a product has for its bias, is the weight

@group(0) @binding(1) var<storage, read> x: array<f32>; // [rows, Y_STRIDE]
@group(0) @binding(2) var<storage, read> weight: array<f32>; // [parts, WIDTH] or [WIDTH]
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [rows, Y_STRIDE]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let start = group.x * Y_STRIDE + group.y * WIDTH;
    var squares = 0.0;
    for (var i = lane; i < WIDTH; i += 64u) {
        squares += x[start + i] * x[start + i];
    }
    let scale = inverseSqrt(workgroup_sum(lane, squares) / f32(WIDTH) + EPSILON);
    var square = 0.0;
    for (var i = lane; i < WIDTH; i += 64u) {
        let normed = x[start + i] * scale * weight[group.y * WEIGHT_STEP + i];
        let value = normed + residual_at(start + i);
        y[start + i] = value;
        square += begin_norm(group.x, i, value);
    }
    finish_row(lane, group.x, square);
}
