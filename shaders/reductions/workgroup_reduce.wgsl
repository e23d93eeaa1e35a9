// Reduction over LANES lanes in workgroup memory.
var<workgroup> lane_sums: array<LaneSums, INVOCATIONS>;

// One barrier and a loop instead of a tree: on software adapters a barrier costs more than the
// sums.
fn reduce(lane: u32, own: LaneSums) -> LaneSums {
    lane_sums[lane] = own;
    workgroupBarrier();
    var sum = own;
    if (lane % LANES == 0u) {
        for (var other = lane + 1u; other < lane + LANES; other++) {
            sum.sums += lane_sums[other].sums;
            sum.share += lane_sums[other].share;
        }
    }
    return sum;
}
