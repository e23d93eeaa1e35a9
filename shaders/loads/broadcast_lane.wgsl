// Part of the inputs that a lane loads for the four lanes that share them.
fn load_index(lane: u32) -> u32 {
    // Index of the lane among its four, which devices number differently.
    let last = select(2u, 3u, lane == quadBroadcast(lane, 3u));
    let later = select(last, 1u, lane == quadBroadcast(lane, 1u));
    return select(later, 0u, lane == quadBroadcast(lane, 0u));
}
