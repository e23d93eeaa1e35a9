// Eight lanes that need the same inputs, as all of a workgroup of eight do, load an eighth each.
// Subgroups must have at least eight lanes.

// Index of the lane among its eight: the number of lanes before it.
fn load_index(lane: u32) -> u32 {
    return subgroupExclusiveAdd(1u);
}

fn load_unit(i: u32, index: u32) -> Inputs32 {
    let a = x[i + index];
    return inputs32(
        subgroupBroadcast(a, 0u), subgroupBroadcast(a, 1u),
        subgroupBroadcast(a, 2u), subgroupBroadcast(a, 3u),
        subgroupBroadcast(a, 4u), subgroupBroadcast(a, 5u),
        subgroupBroadcast(a, 6u), subgroupBroadcast(a, 7u),
    );
}
