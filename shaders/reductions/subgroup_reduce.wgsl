// Sum over LANES lanes by subgroup functions as far as subgroups hold the neighbors, then in
// workgroup memory. WGSL guarantees neither the size of subgroups nor the order of lanes in them,
// so that each step checks which lane the partner was.
var<workgroup> parts: array<Part, INVOCATIONS>;
var<workgroup> spans: array<u32, INVOCATIONS>;

fn reduce(lane: u32, part: Part) -> Part {
    let size = subgroupAdd(1u);
    var sum = part;
    var span = 1u; // lanes whose sum this lane has, itself among them
    for (var apart = 1u; apart < LANES; apart *= 2u) {
        let partner = subgroupShuffleXor(lane, apart);
        let sums = subgroupShuffleXor(sum.sums, apart);
        let share = subgroupShuffleXor(sum.share, apart);
        if (subgroupAll(partner == (lane ^ apart)) && apart < size && span == apart) {
            sum = Part(sum.sums + sums, sum.share + share);
            span = 2u * apart;
        }
    }
    parts[lane] = sum;
    spans[lane] = span;
    workgroupBarrier();
    if (lane % LANES == 0u) {
        for (var other = lane + span; other < lane + LANES; other += spans[other]) {
            sum.sums += parts[other].sums;
            sum.share += parts[other].share;
        }
    }
    return sum;
}
