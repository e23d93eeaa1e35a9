// y = x · rsqrt(mean(x²) + EPSILON) · weight (Zhang & Sennrich 2019), the mean taken over WIDTH
// columns: a row, or a part of it.
// A workgroup norms one row or part; an invocation takes every 64th column.
#import lib/reduce
override WIDTH: u32;
override STRIDE: u32;
override EPSILON: f32;
override WEIGHT_STEP: u32; // from part to part: WIDTH, or 0 where all have the same weights

@group(0) @binding(1) var<storage, read> x: array<f32>; // [rows, STRIDE]
@group(0) @binding(2) var<storage, read> weight: array<f32>; // [parts, WIDTH] or [WIDTH]
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [rows, STRIDE]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let start = group.x * STRIDE + group.y * WIDTH;
    var squares = 0.0;
    for (var i = lane; i < WIDTH; i += 64u) {
        squares += x[start + i] * x[start + i];
    }
    let scale = inverseSqrt(workgroup_sum(lane, squares) / f32(WIDTH) + EPSILON);
    for (var i = lane; i < WIDTH; i += 64u) {
        y[start + i] = x[start + i] * scale * weight[group.y * WEIGHT_STEP + i];
    }
}
