// Epilogue of ssm_step.wgsl if a root-mean-square norm follows, whose first half it computes: y = a
// head · weight, and after the columns of the row the sum of squares of each head, then zeros. The
// products that read y apply the scales (prologues/rms_by_parts.wgsl).
override Y_STRIDE: u32;
override SQUARES: u32; // words for sums, after the columns

@group(0) @binding(6) var<storage, read_write> y: array<f32>; // [1, Y_STRIDE]
@group(0) @binding(7) var<storage, read> weight: array<f32>; // [HEADS · HEAD_DIM]

var<workgroup> squares: array<f32, 256>;

fn finish_head(lane: u32, owns: bool, head: u32, p: u32, values: vec4<f32>) {
    let out = head * HEAD_DIM + p;
    var inside = vec4<f32>();
    if (owns) {
        inside = select(vec4<f32>(), values, p + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(HEAD_DIM));
        if (p < HEAD_DIM) { y[out] = values.x * weight[out]; }
        if (p + 1u < HEAD_DIM) { y[out + 1u] = values.y * weight[out + 1u]; }
        if (p + 2u < HEAD_DIM) { y[out + 2u] = values.z * weight[out + 2u]; }
        if (p + 3u < HEAD_DIM) { y[out + 3u] = values.w * weight[out + 3u]; }
    }
    squares[lane] = dot(inside, inside);
    workgroupBarrier();
    let first_sum = Y_STRIDE - SQUARES;
    if (lane == 0u) {
        var sum = 0.0;
        for (var i = 0u; i < HEAD_STRIDE / 4u; i++) {
            sum += squares[i];
        }
        y[first_sum + head] = sum;
    } else if (head == HEADS - 1u && head + lane < SQUARES) {
        y[first_sum + head + lane] = 0.0;
    }
}
