// Eight lanes that want the same inputs, as all of a workgroup of eight do, load an eighth each: for
// subgroups of at least as many.

// Which of them this is: the lanes before it.
fn input_place(lane: u32) -> u32 {
    return subgroupExclusiveAdd(1u);
}

fn load_unit(i: u32, place: u32) -> Inputs32 {
    let a = x[i + place];
    return inputs32(
        subgroupBroadcast(a, 0u), subgroupBroadcast(a, 1u), subgroupBroadcast(a, 2u), subgroupBroadcast(a, 3u),
        subgroupBroadcast(a, 4u), subgroupBroadcast(a, 5u), subgroupBroadcast(a, 6u), subgroupBroadcast(a, 7u),
    );
}
