// Row of a position in a KV cache. A cache of RING rows is a ring: it overwrites old positions.
// Mirrored by `CacheRows::row_of` in src/kernels/cache.rs.
override RING: u32; // rows, 0 if there is one for each position

fn cache_row(position: u32) -> u32 {
    if (RING == 0u) {
        return position;
    }
    return position % max(RING, 1u);
}

// Rows of positions that are less than 2 · RING after `start`, a position in row 0.
fn cache_rows(positions: vec4<u32>, start: u32) -> vec4<u32> {
    if (RING == 0u) {
        return positions;
    }
    let rows = positions - start;
    return min(rows, rows - RING); // a difference below zero is huge
}
