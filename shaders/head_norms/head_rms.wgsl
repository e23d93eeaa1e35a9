// Head norm: root-mean-square norm (Zhang & Sennrich 2019) of each query and key head,
// outputs · rsqrt(mean(outputs²) + HEAD_EPSILON) · weight. A workgroup has the outputs of one head.
override HEAD_EPSILON: f32;

@group(0) @binding(6 + BIASES)
var<storage, read> head_weights: array<f32>; // [2, HEAD_DIM]: queries, keys

var<workgroup> head_squares: array<f32, INVOCATIONS>;

fn head_normed(lane: u32, owns: bool, rows: vec4<u32>, values: vec4<f32>) -> vec4<f32> {
    head_squares[lane] = dot(values, values);
    workgroupBarrier();
    let is_value = rows.x >= Q_ROWS + K_ROWS;
    if (!owns || is_value) {
        return values;
    }
    var sum = 0.0;
    for (var owner = 0u; owner < INVOCATIONS; owner += LANES) {
        sum += head_squares[owner];
    }
    let scale = inverseSqrt(sum / f32(HEAD_DIM) + HEAD_EPSILON);
    let i = rows % HEAD_DIM + select(0u, HEAD_DIM, rows.x >= Q_ROWS);
    return scale * values
        * vec4<f32>(head_weights[i.x], head_weights[i.y], head_weights[i.z], head_weights[i.w]);
}
