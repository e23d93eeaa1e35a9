// IQ3_S: weight = (2 · quant - 15) · d · (2 · scale + 1). IQ3_XXS: weight = ±(4, 12, 20 … 52, 62) ·
// d · (2 · scale + 1) / 4. One vector of nibbles per unit; in each row a word of scales per
// super-block of eight units, a nibble per unit, then f16 d, two per word.
override IQ3_XXS: u32; // 0 or 1

@group(1) @binding(0) var<storage, read> plane_quants: array<vec4<u32>>;
@group(1) @binding(1) var<storage, read> plane_scales: array<u32>;

fn iq3_scale(row: u32, unit: u32) -> f32 {
    let blocks = COLUMNS / 256u;
    let block = unit / 8u;
    let base = row * (blocks + (blocks + 1u) / 2u);
    let scale = (plane_scales[base + block] >> (4u * (unit & 7u))) & 15u;
    let d = weights_half(plane_scales[base + blocks + block / 2u], block & 1u);
    return d * f32(2u * scale + 1u) * select(1.0, 0.25, IQ3_XXS == 1u);
}

// Levels of IQ3_XXS as signed bytes, from quants, one per byte of each word. Without carries from
// one byte to the next, 8 · quant - 60, and 2 beyond that for the first and the last.
fn iq3_quads(n: vec4<u32>) -> vec4<u32> {
    let one = vec4<u32>(0x01010101u);
    let is_last = ((n + one) >> vec4<u32>(4u)) & one;
    let is_not_first = ((n + vec4<u32>(0x0f0f0f0fu)) >> vec4<u32>(4u)) & one;
    let levels = (n << vec4<u32>(3u)) + ((is_last + is_not_first) << vec4<u32>(1u));
    return (levels + vec4<u32>(0x42424242u)) ^ vec4<u32>(0x80808080u);
}

fn iq3_bytes(q: vec4<u32>) -> Bytes32 {
    let nibbles = bytes32_nibbles(q);
    return Bytes32(iq3_quads(nibbles.a), iq3_quads(nibbles.b));
}

fn weights32(row: u32, unit: u32) -> Weights32 {
    let q = plane_quants[row * (COLUMNS / 32u) + unit];
    let scale = iq3_scale(row, unit);
    if (IQ3_XXS == 1u) {
        return weights_signed(iq3_bytes(q), vec2<f32>(scale));
    }
    return weights_centered(bytes32_nibbles(q), 7.5, vec2<f32>(2.0 * scale));
}

fn dot32(row: u32, unit: u32, v: Inputs32) -> f32 {
    let q = plane_quants[row * (COLUMNS / 32u) + unit];
    let scale = iq3_scale(row, unit);
    if (IQ3_XXS == 1u) {
        let bytes = iq3_bytes(q);
        let products = dot_signed(bytes.a, bytes.b, v);
        return scale * (products.x + products.y);
    }
    return scale * (2.0 * dot_nibbles(q, v) - 15.0 * (v.sums.x + v.sums.y));
}
