// Reduction that has nothing to sum: one lane computes a quad of outputs, LANES is 1.
fn reduce(lane: u32, own: LaneSums) -> LaneSums {
    return own;
}
