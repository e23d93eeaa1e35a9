// Reduction over LANES lanes by subgroup functions as far as a subgroup holds these lanes, then in
// workgroup memory. WGSL guarantees neither the size of subgroups nor the order of lanes in them,
// so that each step checks which lane the partner was.
var<workgroup> lane_sums: array<LaneSums, INVOCATIONS>;
var<workgroup> spans: array<u32, INVOCATIONS>;

fn reduce(lane: u32, own: LaneSums) -> LaneSums {
    let size = subgroupAdd(1u);
    var sum = own;
    var span = 1u; // number of lanes whose sum this lane has, its own included
    for (var apart = 1u; apart < LANES; apart *= 2u) {
        let partner = subgroupShuffleXor(lane, apart);
        let sums = subgroupShuffleXor(sum.sums, apart);
        let share = subgroupShuffleXor(sum.share, apart);
        if (subgroupAll(partner == (lane ^ apart)) && apart < size && span == apart) {
            sum = LaneSums(sum.sums + sums, sum.share + share);
            span = 2u * apart;
        }
    }
    lane_sums[lane] = sum;
    spans[lane] = span;
    workgroupBarrier();
    if (lane % LANES == 0u) {
        for (var other = lane + span; other < lane + LANES; other += spans[other]) {
            sum.sums += lane_sums[other].sums;
            sum.share += lane_sums[other].share;
        }
    }
    return sum;
}
