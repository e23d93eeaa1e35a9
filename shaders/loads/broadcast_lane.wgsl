// Index of a lane in its quad of four lanes that share loads: it loads the part of that index.
fn load_index(lane: u32) -> u32 {
    // Devices number the lanes of a quad differently: compare with what each of them broadcasts.
    let last = select(2u, 3u, lane == quadBroadcast(lane, 3u));
    let later = select(last, 1u, lane == quadBroadcast(lane, 1u));
    return select(later, 0u, lane == quadBroadcast(lane, 0u));
}
