// Q5_K: weight = quant · (d · scale) - dmin · minimum. One vector of nibbles a unit; twelve words
// a block of eight units: d and dmin, low four bits of the units' scales and minima (a byte a
// unit, two words), high two bits of them (a nibble a unit), then one word of high bits a unit
// (bit 8i + k for weight 4k + i).
@group(1) @binding(0) var<storage, read> plane_quants: array<vec4<u32>>;
@group(1) @binding(1) var<storage, read> plane_scales: array<u32>;

// The unit's scale, and minus its minimum.
fn q5_k_scale(base: u32, group: u32) -> vec2<f32> {
    let low = plane_scales[base + 1u + group / 4u] >> (8u * (group & 3u));
    let high = plane_scales[base + 3u] >> (4u * group);
    let scale = (low & 15u) | ((high & 3u) << 4u);
    let minimum = ((low >> 4u) & 15u) | (((high >> 2u) & 3u) << 4u);
    return unpack2x16float(plane_scales[base]) * vec2<f32>(f32(scale), -f32(minimum));
}

// Four nibbles, one a byte, and their fifth bits at bit 4 of each byte.
fn q5_k_quad(nibbles: u32, fifth: u32) -> vec4<f32> {
    return weights_bytes((nibbles & 0x0f0f0f0fu) | (fifth & 0x10101010u));
}

fn weights32(row: u32, unit: u32) -> Weights32 {
    let units = (COLUMNS + 31u) / 32u;
    let q = plane_quants[row * units + unit];
    let base = 12u * (row * (units / 8u) + unit / 8u);
    let scale = q5_k_scale(base, unit & 7u);
    let h = plane_scales[base + 4u + (unit & 7u)];
    return Weights32(
        scale.x * q5_k_quad(q.x, h << 4u) + scale.y, scale.x * q5_k_quad(q.x >> 4u, h << 3u) + scale.y,
        scale.x * q5_k_quad(q.y, h << 2u) + scale.y, scale.x * q5_k_quad(q.y >> 4u, h << 1u) + scale.y,
        scale.x * q5_k_quad(q.z, h) + scale.y, scale.x * q5_k_quad(q.z >> 4u, h >> 1u) + scale.y,
        scale.x * q5_k_quad(q.w, h >> 2u) + scale.y, scale.x * q5_k_quad(q.w >> 4u, h >> 3u) + scale.y,
    );
}
