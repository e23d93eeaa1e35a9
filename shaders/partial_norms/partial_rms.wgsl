// Partial norm of a product: the first half of the root-mean-square norm that the model applies to
// its outputs y. A norm needs the squares of a whole row, but a workgroup has only some outputs. So
// each workgroup stores weighted = y · weight and one sum of squares, after the columns of the row;
// zeros fill the rest. The products that read weighted add these sums and apply the scale
// (prologues/rms.wgsl).
override WEIGHTED_STRIDE: u32;
override SQUARES: u32; // words for sums, after the columns

@group(0) @binding(3 + BIASES + RESIDUALS) var<storage, read> weight: array<f32>; // [ROWS]
@group(0) @binding(4 + BIASES + RESIDUALS)
var<storage, read_write> weighted: array<f32>; // [rows, WEIGHTED_STRIDE]

var<workgroup> squares: array<f32, INVOCATIONS>;

fn partial_norm(lane: u32, owns: bool, row: u32, quad: u32, values: vec4<f32>) {
    let first = 4u * quad;
    var square = 0.0;
    if (owns && first < ROWS) {
        // Outputs past the last row do not count.
        let inside = select(vec4<f32>(), values, quad_rows(quad) < vec4<u32>(ROWS));
        square = dot(inside, inside);
        let out = row * WEIGHTED_STRIDE + first;
        weighted[out] = values.x * weight[first];
        if (first + 1u < ROWS) { weighted[out + 1u] = values.y * weight[first + 1u]; }
        if (first + 2u < ROWS) { weighted[out + 2u] = values.z * weight[first + 2u]; }
        if (first + 3u < ROWS) { weighted[out + 3u] = values.w * weight[first + 3u]; }
    }
    squares[lane] = square;
    workgroupBarrier();
    let quads = INVOCATIONS / LANES; // of a workgroup
    let workgroup = quad / quads;
    let first_sum = (row + 1u) * WEIGHTED_STRIDE - SQUARES;
    if (lane == 0u) {
        for (var other = LANES; other < INVOCATIONS; other += LANES) {
            square += squares[other];
        }
        weighted[first_sum + workgroup] = square;
    } else if ((workgroup + 1u) * quads * 4u >= ROWS) {
        for (var i = workgroup + lane; i < SQUARES; i += INVOCATIONS - 1u) {
            weighted[first_sum + i] = 0.0;
        }
    }
}
