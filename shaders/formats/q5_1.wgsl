// Q5_1: weight = quant · scale + minimum. One vector of nibbles a unit; two words a unit: high
// bits (bit 8i + k for weight 4k + i), then scale (low half) and minimum (high half).
@group(1) @binding(0) var<storage, read> plane_quants: array<vec4<u32>>;
@group(1) @binding(1) var<storage, read> plane_scales: array<u32>;

// Four nibbles, one a byte, and their fifth bits at bit 4 of each byte.
fn q5_1_quad(nibbles: u32, fifth: u32) -> vec4<f32> {
    return weights_bytes((nibbles & 0x0f0f0f0fu) | (fifth & 0x10101010u));
}

fn weights32(row: u32, unit: u32) -> Weights32 {
    let units = (COLUMNS + 31u) / 32u;
    let at = row * units + unit;
    let q = plane_quants[at];
    let h = plane_scales[2u * at];
    let scale = unpack2x16float(plane_scales[2u * at + 1u]);
    return Weights32(
        scale.x * q5_1_quad(q.x, h << 4u) + scale.y, scale.x * q5_1_quad(q.x >> 4u, h << 3u) + scale.y,
        scale.x * q5_1_quad(q.y, h << 2u) + scale.y, scale.x * q5_1_quad(q.y >> 4u, h << 1u) + scale.y,
        scale.x * q5_1_quad(q.z, h) + scale.y, scale.x * q5_1_quad(q.z >> 4u, h >> 1u) + scale.y,
        scale.x * q5_1_quad(q.w, h >> 2u) + scale.y, scale.x * q5_1_quad(q.w >> 4u, h >> 3u) + scale.y,
    );
}
