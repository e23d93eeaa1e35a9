// Q2_0: weight = (quant - 1) · scale. One vector of bit pairs per block of two units (bits 8i + 2k
// of each word for its weight 4k + i); f16 scales of two units, two per word.
@group(1) @binding(0) var<storage, read> plane_quants: array<vec4<u32>>;
@group(1) @binding(1) var<storage, read> plane_scales: array<u32>;

fn q2_0_quants(row: u32, unit: u32) -> vec2<u32> {
    let both = plane_quants[row * (COLUMNS / 64u) + unit / 2u];
    return select(both.xy, both.zw, (unit & 1u) != 0u);
}

fn q2_0_scale(row: u32, unit: u32) -> f32 {
    let blocks = COLUMNS / 64u;
    return weights_half(plane_scales[row * ((blocks + 1u) / 2u) + unit / 4u], (unit / 2u) & 1u);
}

fn weights32(row: u32, unit: u32) -> Weights32 {
    let quants = bytes32_twos(q2_0_quants(row, unit));
    return weights_centered(quants, 1.0, vec2<f32>(q2_0_scale(row, unit)));
}

fn dot32(row: u32, unit: u32, v: Inputs32) -> f32 {
    let products = dot_twos(q2_0_quants(row, unit), v) - v.sums;
    return q2_0_scale(row, unit) * (products.x + products.y);
}
