// Sum over LANES lanes in workgroup memory.
var<workgroup> parts: array<Part, INVOCATIONS>;

// One barrier and a loop instead of a tree: on software adapters a barrier costs more than the
// sums.
fn reduce(lane: u32, part: Part) -> Part {
    parts[lane] = part;
    workgroupBarrier();
    var sum = part;
    if (lane % LANES == 0u) {
        for (var other = lane + 1u; other < lane + LANES; other++) {
            sum.sums += parts[other].sums;
            sum.share += parts[other].share;
        }
    }
    return sum;
}
