// Prologue that is the second half of a root-mean-square norm of each of PARTS equal parts of a
// row, as in rms.wgsl: after the columns of a row there are SUMS partial sums of squares per part.
override EPSILON: f32;
override PARTS: u32; // at most 64, each of whole units
override SUMS: u32; // partial sums of a part

var<workgroup> part_scales: array<f32, 64>;

fn prepare(row: u32, lane: u32) {
    for (var part = lane; part < PARTS; part += INVOCATIONS) {
        var sum = 0.0;
        let first = row * X_STRIDE + COLUMNS + part * SUMS;
        for (var i = first; i < first + SUMS; i++) {
            sum += x[i / 4u][i % 4u];
        }
        part_scales[part] = inverseSqrt(sum / f32(COLUMNS / PARTS) + EPSILON);
    }
    workgroupBarrier();
}

fn unit_scale(unit: u32) -> f32 {
    return part_scales[unit / (COLUMNS / PARTS / 32u)];
}

fn input_share(row: u32, slot: u32) -> f32 {
    return 0.0;
}

fn input_scale(sum: f32) -> f32 {
    return 1.0;
}
