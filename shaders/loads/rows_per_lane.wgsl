// Loads of ssm_scan.wgsl, each lane by itself: the eight vectors of its rows.

// Indices of the eight vectors.
struct Places {
    low: vec4<u32>,
    high: vec4<u32>,
}

fn load_index(lane: u32) -> u32 {
    return 0u;
}

fn places(low: vec4<u32>, high: vec4<u32>, index: u32) -> Places {
    return Places(low, high);
}

fn eight_of_x(at: Places, n: u32) -> Rows8 {
    let low = at.low + n;
    let high = at.high + n;
    return Rows8(
        Rows4(x[low.x], x[low.y], x[low.z], x[low.w]),
        Rows4(x[high.x], x[high.y], x[high.z], x[high.w]),
    );
}

fn eight_factors(at: Places, n: u32) -> Rows8 {
    let low = at.low + n;
    let high = at.high + n;
    return Rows8(
        Rows4(factors[low.x], factors[low.y], factors[low.z], factors[low.w]),
        Rows4(factors[high.x], factors[high.y], factors[high.z], factors[high.w]),
    );
}
