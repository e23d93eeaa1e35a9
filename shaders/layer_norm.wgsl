// y = (x - mean(x)) · rsqrt(variance(x) + EPSILON) · weight + bias (Ba et al. 2016).
// A workgroup norms one row; an invocation takes every 64th column.
#import lib/reduce
override WIDTH: u32;
override STRIDE: u32;
override EPSILON: f32;

@group(0) @binding(1) var<storage, read> x: array<f32>; // [rows, STRIDE]
@group(0) @binding(2) var<storage, read> weight: array<f32>; // [WIDTH]
@group(0) @binding(3) var<storage, read> bias: array<f32>; // [WIDTH]
@group(0) @binding(4) var<storage, read_write> y: array<f32>; // [rows, STRIDE]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let start = group.x * STRIDE;
    var sum = 0.0;
    for (var i = lane; i < WIDTH; i += 64u) {
        sum += x[start + i];
    }
    let mean = workgroup_sum(lane, sum) / f32(WIDTH);
    var squares = 0.0;
    for (var i = lane; i < WIDTH; i += 64u) {
        let distance = x[start + i] - mean;
        squares += distance * distance;
    }
    let scale = inverseSqrt(workgroup_sum(lane, squares) / f32(WIDTH) + EPSILON);
    for (var i = lane; i < WIDTH; i += 64u) {
        y[start + i] = (x[start + i] - mean) * scale * weight[i] + bias[i];
    }
}
