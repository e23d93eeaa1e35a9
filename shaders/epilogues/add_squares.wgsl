// y = residual + outputs, and what the norm that follows makes of it but for its scale:
// weighted = y · weight, and behind its columns a sum of squares of y from each workgroup, then
// zeros.
#import lib/quads
override WEIGHTED_STRIDE: u32;
override SQUARES: u32; // words behind the columns

@group(0) @binding(3 + BIASES) var<storage, read> residual: array<f32>; // [rows, Y_STRIDE]
@group(0) @binding(4 + BIASES) var<storage, read> weight: array<f32>; // [ROWS]
@group(0) @binding(5 + BIASES) var<storage, read_write> weighted: array<f32>; // [rows, WEIGHTED_STRIDE]

var<workgroup> squares: array<f32, INVOCATIONS>;

fn finish(lane: u32, owns: bool, row: u32, quad: u32, sums: vec4<f32>) {
    let first = 4u * quad;
    var square = 0.0;
    if (owns && first < ROWS) {
        let i = quad_start(row, quad);
        let old = vec4<f32>(residual[i], residual[i + 1u], residual[i + 2u], residual[i + 3u]);
        // Past the end nothing counts.
        let values = select(vec4<f32>(), old + sums, quad_rows(quad) < vec4<u32>(ROWS));
        write_quad(row, quad, values);
        square = dot(values, values);
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
    let behind = (row + 1u) * WEIGHTED_STRIDE - SQUARES;
    if (lane == 0u) {
        for (var other = LANES; other < INVOCATIONS; other += LANES) {
            square += squares[other];
        }
        weighted[behind + workgroup] = square;
    } else if ((workgroup + 1u) * quads * 4u >= ROWS) {
        for (var i = workgroup + lane; i < SQUARES; i += INVOCATIONS - 1u) {
            weighted[behind + i] = 0.0;
        }
    }
}
