// Epilogue of rms_norm.wgsl if another root-mean-square norm follows, whose first half it computes:
// weighted = y · next_weight, and after the columns of a row the sum of the squares of y, then
// zeros. The products that read weighted apply the scale (prologues/rms.wgsl).
override WEIGHTED_STRIDE: u32;
override SQUARES: u32; // words for sums, after the columns

@group(0) @binding(4 + RESIDUALS) var<storage, read> next_weight: array<f32>; // [WIDTH]
@group(0) @binding(5 + RESIDUALS)
var<storage, read_write> weighted: array<f32>; // [rows, WEIGHTED_STRIDE]

fn begin_norm(row: u32, column: u32, value: f32) -> f32 {
    weighted[row * WEIGHTED_STRIDE + column] = value * next_weight[column];
    return value * value;
}

fn finish_row(lane: u32, row: u32, square: f32) {
    let sum = workgroup_sum(lane, square);
    let first_sum = (row + 1u) * WEIGHTED_STRIDE - SQUARES;
    for (var i = lane; i < SQUARES; i += 64u) {
        weighted[first_sum + i] = select(0.0, sum, i == 0u);
    }
}
