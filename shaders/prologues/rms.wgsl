// Prologue that is the second half of a root-mean-square norm (Zhang & Sennrich 2019). The kernel
// that wrote the inputs computed the first half (partial_norms/): it multiplied them by the norm's
// weight and stored partial sums of squares after the columns of each row. Here the row is scaled
// by rsqrt(sum / COLUMNS + EPSILON).
override EPSILON: f32;

fn prepare(row: u32, lane: u32) {}

fn unit_scale(unit: u32) -> f32 {
    return 1.0;
}

fn input_share(row: u32, slot: u32) -> f32 {
    let end = (row + 1u) * (X_STRIDE / 4u);
    var sum = vec4<f32>();
    for (var i = row * (X_STRIDE / 4u) + (COLUMNS + 31u) / 32u * 8u + slot; i < end; i += LANES) {
        sum += x[i];
    }
    return sum.x + sum.y + sum.z + sum.w;
}

fn input_scale(sum: f32) -> f32 {
    return inverseSqrt(sum / f32(COLUMNS) + EPSILON);
}
