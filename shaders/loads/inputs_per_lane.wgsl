// Loads of inputs, each lane by itself: the 32 inputs of a unit.
fn load_index(lane: u32) -> u32 {
    return 0u;
}

fn load_unit(i: u32, index: u32) -> Inputs32 {
    return inputs32(
        x[i], x[i + 1u], x[i + 2u], x[i + 3u], x[i + 4u], x[i + 5u], x[i + 6u], x[i + 7u],
    );
}
