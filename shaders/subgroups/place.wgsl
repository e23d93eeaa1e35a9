// Which part of inputs a lane loads for the four that share them.
fn input_place(lane: u32) -> u32 {
    // Which lane of its four this is, however a device numbers them.
    let last = select(2u, 3u, lane == quadBroadcast(lane, 3u));
    return select(select(last, 1u, lane == quadBroadcast(lane, 1u)), 0u, lane == quadBroadcast(lane, 0u));
}
