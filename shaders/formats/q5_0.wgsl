// Q5_0: weight = (quant - 16) · scale. One vector of nibbles a unit; per row one word of high
// bits a unit (bit 8i + k for weight 4k + i), then the scales two a word.
@group(1) @binding(0) var<storage, read> plane_quants: array<vec4<u32>>;
@group(1) @binding(1) var<storage, read> plane_scales: array<u32>;

// Four nibbles, one a byte, and their fifth bits at bit 4 of each byte.
fn q5_0_quad(nibbles: u32, fifth: u32) -> vec4<f32> {
    return weights_bytes((nibbles & 0x0f0f0f0fu) | (fifth & 0x10101010u)) - 16.0;
}

fn weights32(row: u32, unit: u32) -> Weights32 {
    let units = (COLUMNS + 31u) / 32u;
    let q = plane_quants[row * units + unit];
    let base = row * (units + (units + 1u) / 2u);
    let h = plane_scales[base + unit];
    let scale = weights_half(plane_scales[base + units + unit / 2u], unit & 1u);
    return Weights32(
        scale * q5_0_quad(q.x, h << 4u), scale * q5_0_quad(q.x >> 4u, h << 3u),
        scale * q5_0_quad(q.y, h << 2u), scale * q5_0_quad(q.y >> 4u, h << 1u),
        scale * q5_0_quad(q.z, h), scale * q5_0_quad(q.z >> 4u, h >> 1u),
        scale * q5_0_quad(q.w, h >> 2u), scale * q5_0_quad(q.w >> 4u, h >> 3u),
    );
}
