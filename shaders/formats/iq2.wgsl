// IQ2_XXS, IQ2_XS and IQ2_S: weight = ±(8, 25, 43) · d · (2 · scale + 1) / 8, a scale per 16
// weights. One vector of low bit pairs per two units (bits 8i + 2k of each word for its weight
// 4k + i); in each row ten words per super-block of eight units (a word of high bits per unit: bit
// 8i + k for weight 4k + i; two words of scales, a byte per unit, its first scale in the low
// nibble), then f16 d, two per word.
@group(1) @binding(0) var<storage, read> plane_quants: array<vec4<u32>>;
@group(1) @binding(1) var<storage, read> plane_scales: array<u32>;

// Levels as signed bytes, from quants 0 to 5, one per byte of each word. Without carries from one
// byte to the next, 17 · quant - 43, and 1 above that for quants 1, 2 and 5.
fn iq2_quads(q: vec4<u32>) -> vec4<u32> {
    let is_above = (q ^ (q >> vec4<u32>(1u))) & vec4<u32>(0x01010101u);
    return (q * 17u + is_above + vec4<u32>(0x55555555u)) ^ vec4<u32>(0x80808080u);
}

fn iq2_bytes(row: u32, unit: u32) -> Bytes32 {
    let blocks = COLUMNS / 256u;
    let both = plane_quants[row * (COLUMNS / 64u) + unit / 2u];
    let at = row * (10u * blocks + (blocks + 1u) / 2u) + 10u * (unit / 8u) + (unit & 7u);
    let pairs = select(both.xy, both.zw, (unit & 1u) != 0u);
    let quants = bytes32_threes(pairs, plane_scales[at]);
    return Bytes32(iq2_quads(quants.a), iq2_quads(quants.b));
}

// Scales of the first and of the last sixteen weights of a unit.
fn iq2_scales(row: u32, unit: u32) -> vec2<f32> {
    let blocks = COLUMNS / 256u;
    let block = unit / 8u;
    let base = row * (10u * blocks + (blocks + 1u) / 2u);
    let scales = plane_scales[base + 10u * block + 8u + (unit & 7u) / 4u] >> (8u * (unit & 3u));
    let d = weights_half(plane_scales[base + 10u * blocks + block / 2u], block & 1u);
    let both = vec2<u32>(scales, scales >> 4u) & vec2<u32>(15u);
    return d * vec2<f32>(2u * both + 1u) * 0.125;
}

fn weights32(row: u32, unit: u32) -> Weights32 {
    return weights_signed(iq2_bytes(row, unit), iq2_scales(row, unit));
}

fn dot32(row: u32, unit: u32, v: Inputs32) -> f32 {
    let bytes = iq2_bytes(row, unit);
    let products = iq2_scales(row, unit) * dot_signed(bytes.a, bytes.b, v);
    return products.x + products.y;
}
