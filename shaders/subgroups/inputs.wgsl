// Four lanes that want the same inputs, as all do where LANES is 1, load a fourth each.
fn input_place(lane: u32) -> u32 {
    // Which lane of its four this is, however a device numbers them.
    let last = select(2u, 3u, lane == quadBroadcast(lane, 3u));
    return select(select(last, 1u, lane == quadBroadcast(lane, 1u)), 0u, lane == quadBroadcast(lane, 0u));
}

fn load_unit(i: u32, place: u32) -> Inputs32 {
    let a = x[i + place];
    let b = x[i + 4u + place];
    return inputs32(
        quadBroadcast(a, 0u), quadBroadcast(a, 1u), quadBroadcast(a, 2u), quadBroadcast(a, 3u),
        quadBroadcast(b, 0u), quadBroadcast(b, 1u), quadBroadcast(b, 2u), quadBroadcast(b, 3u),
    );
}
