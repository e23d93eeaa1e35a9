// Sum over a workgroup of 64 invocations. All 64 must call it; all get the sum.
var<workgroup> reduce_values: array<f32, 64>;

fn workgroup_sum(lane: u32, value: f32) -> f32 {
    workgroupBarrier();
    reduce_values[lane] = value;
    for (var half = 32u; half > 0u; half >>= 1u) {
        workgroupBarrier();
        if (lane < half) {
            reduce_values[lane] += reduce_values[lane + half];
        }
    }
    workgroupBarrier();
    return reduce_values[0];
}
