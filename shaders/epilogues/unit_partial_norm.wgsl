// Epilogue of embed.wgsl if a root-mean-square norm follows, whose first half it computes: y[row] =
// a row of the embedding matrix, weighted = y · weight, and after its columns a sum of the squares
// of y from each workgroup, then zeros. The products that read weighted apply the scale
// (prologues/rms.wgsl).
override WEIGHTED_STRIDE: u32;
override SQUARES: u32; // words for sums, after the columns

@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>; // [rows, STRIDE / 4]
@group(0) @binding(3) var<storage, read> weight: array<f32>; // [COLUMNS]
@group(0) @binding(4) var<storage, read_write> weighted: array<f32>; // [rows, WEIGHTED_STRIDE]

var<workgroup> squares: array<f32, 64>;

// Writes a quad; returns the sum of its squares.
fn finish_quad(row: u32, quad: u32, values: vec4<f32>) -> f32 {
    y[row * (STRIDE / 4u) + quad] = values;
    let i = 4u * quad;
    let out = row * WEIGHTED_STRIDE + i;
    // Values past the end of a row are zero, and so are their products.
    weighted[out] = values.x * weight[i];
    weighted[out + 1u] = values.y * weight[i + 1u];
    weighted[out + 2u] = values.z * weight[i + 2u];
    weighted[out + 3u] = values.w * weight[i + 3u];
    return dot(values, values);
}

fn finish_unit(lane: u32, row: u32, unit: u32, w: Weights32) {
    var square = 0.0;
    if (unit * 32u < COLUMNS) {
        let i = unit * 8u;
        square = finish_quad(row, i, w.w0) + finish_quad(row, i + 1u, w.w1)
            + finish_quad(row, i + 2u, w.w2) + finish_quad(row, i + 3u, w.w3)
            + finish_quad(row, i + 4u, w.w4) + finish_quad(row, i + 5u, w.w5)
            + finish_quad(row, i + 6u, w.w6) + finish_quad(row, i + 7u, w.w7);
    }
    squares[lane] = square;
    workgroupBarrier();
    let workgroup = unit / 64u;
    let first_sum = (row + 1u) * WEIGHTED_STRIDE - SQUARES;
    if (lane == 0u) {
        for (var other = 1u; other < 64u; other++) {
            square += squares[other];
        }
        weighted[first_sum + workgroup] = square;
    } else if ((workgroup + 1u) * 2048u >= COLUMNS && workgroup + lane < SQUARES) {
        weighted[first_sum + workgroup + lane] = 0.0;
    }
}
