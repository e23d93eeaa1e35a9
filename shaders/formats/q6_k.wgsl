// Q6_K: weight = (quant - 32) · (d · scale), a scale for 16 weights. One vector of nibbles a
// unit; per row twenty words a block of eight units (two words of high bit pairs a unit: bits
// 8i + 2(k % 4) for weight 4k + i, word k / 4; four words of signed scales), then d two a word.
@group(1) @binding(0) var<storage, read> plane_quants: array<vec4<u32>>;
@group(1) @binding(1) var<storage, read> plane_scales: array<u32>;

// Four nibbles, one a byte, and their high pairs at bits 4 and 5 of each byte.
fn q6_k_quad(nibbles: u32, pairs: u32) -> vec4<f32> {
    return weights_bytes((nibbles & 0x0f0f0f0fu) | (pairs & 0x30303030u)) - 32.0;
}

fn weights32(row: u32, unit: u32) -> Weights32 {
    let units = (COLUMNS + 31u) / 32u;
    let blocks = units / 8u;
    let block = unit / 8u;
    let group = unit & 7u;
    let q = plane_quants[row * units + unit];
    let base = row * (20u * blocks + (blocks + 1u) / 2u);
    let at = base + 20u * block;
    let p = plane_scales[at + 2u * group];
    let r = plane_scales[at + 2u * group + 1u];
    let scales = bitcast<i32>(plane_scales[at + 16u + group / 2u]);
    let d = weights_half(plane_scales[base + 20u * blocks + block / 2u], block & 1u);
    let a = d * f32(extractBits(scales, 16u * (group & 1u), 8u));
    let b = d * f32(extractBits(scales, 16u * (group & 1u) + 8u, 8u));
    return Weights32(
        a * q6_k_quad(q.x, p << 4u), a * q6_k_quad(q.x >> 4u, p << 2u),
        a * q6_k_quad(q.y, p), a * q6_k_quad(q.y >> 4u, p >> 2u),
        b * q6_k_quad(q.z, r << 4u), b * q6_k_quad(q.z >> 4u, r << 2u),
        b * q6_k_quad(q.w, r), b * q6_k_quad(q.w >> 4u, r >> 2u),
    );
}
