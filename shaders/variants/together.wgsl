// LANES lanes sum their parts in workgroup memory.
var<workgroup> parts: array<Part, INVOCATIONS>;

// One barrier and a short loop: on software adapters a barrier costs more than the sums.
fn total(lane: u32, part: Part) -> Part {
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
