// Loads of ssm_scan.wgsl, shared by four lanes that compute the same rows: of the eight vectors
// that they need, each lane loads two and gets the others by quadBroadcast. Consecutive lanes of
// the workgroup must be consecutive in a subgroup.
#import loads/broadcast_lane

// Indices of the two vectors that this lane loads.
struct Places {
    low: u32,
    high: u32,
}

fn at_place(at: vec4<u32>, index: u32) -> u32 {
    return select(select(at.x, at.y, index == 1u), select(at.z, at.w, index == 3u), index > 1u);
}

fn places(low: vec4<u32>, high: vec4<u32>, index: u32) -> Places {
    return Places(at_place(low, index), at_place(high, index));
}

fn rows4(own: vec4<f32>) -> Rows4 {
    return Rows4(
        quadBroadcast(own, 0u), quadBroadcast(own, 1u),
        quadBroadcast(own, 2u), quadBroadcast(own, 3u),
    );
}

fn eight_of_x(at: Places, n: u32) -> Rows8 {
    return Rows8(rows4(x[at.low + n]), rows4(x[at.high + n]));
}

fn eight_factors(at: Places, n: u32) -> Rows8 {
    return Rows8(rows4(factors[at.low + n]), rows4(factors[at.high + n]));
}
