// Loads of inputs, shared by the eight lanes of a workgroup: they need the same 32 inputs; each
// loads an eighth and gets the others by subgroupBroadcast. Subgroups must have at least eight
// lanes.

// Index of the lane in its subgroup: the number of lanes before it.
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
