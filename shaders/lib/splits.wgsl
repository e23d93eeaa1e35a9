// Split of the positions that rows see among workgroups. Mirrored by `Attention::splits` in
// src/kernels/attention.rs.
override QUADS: u32; // of a head; a tile is 4 · QUADS positions
override HEADS: u32; // query heads
override WINDOW: u32; // positions that a row sees, in each direction, 0 for all
override CAUSAL: u32; // 0 if rows see the later rows of the step
override SPLITS: u32; // at most

// First position that a row sees.
fn oldest_seen(row: u32) -> u32 {
    let end = step.position + row + 1u;
    return select(0u, end - min(end, WINDOW), WINDOW != 0u);
}

// End of the positions that a row sees.
fn end_seen(row: u32) -> u32 {
    let own = step.position + row;
    let last = step.position + step.rows;
    let reach = select(last, min(last, own + WINDOW), WINDOW != 0u);
    return select(reach, own + 1u, CAUSAL != 0u);
}

fn tiles_of_split(positions: u32) -> u32 {
    let tiles = (positions + 4u * QUADS - 1u) / (4u * QUADS);
    return (tiles + SPLITS - 1u) / SPLITS;
}

// Number of splits of a step; 1 for steps of several rows.
fn splits() -> u32 {
    if (SPLITS == 1u) {
        return 1u;
    }
    let positions = step.position + 1u - oldest_seen(0u);
    let of_split = tiles_of_split(positions) * 4u * QUADS;
    return (positions + of_split - 1u) / of_split;
}

// First position of a split, and the end of its positions.
fn split_range(first_row: u32, last_row: u32, split: u32) -> vec2<u32> {
    let oldest = oldest_seen(first_row);
    let end = end_seen(last_row);
    let of_split = tiles_of_split(end - oldest) * 4u * QUADS;
    let first = oldest + split * of_split;
    return vec2<u32>(first, min(end, first + of_split));
}
