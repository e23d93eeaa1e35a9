// Q1_0: weight = scale if the quant is 1, else -scale. One word of quants per unit (bit 8i + k for
// weight 4k + i); f16 scales of four units, two per word.
@group(1) @binding(0) var<storage, read> plane_quants: array<u32>;
@group(1) @binding(1) var<storage, read> plane_scales: array<u32>;

fn q1_0_scale(row: u32, unit: u32) -> f32 {
    let blocks = COLUMNS / 128u;
    return weights_half(plane_scales[row * ((blocks + 1u) / 2u) + unit / 8u], (unit / 4u) & 1u);
}

fn weights32(row: u32, unit: u32) -> Weights32 {
    let scale = q1_0_scale(row, unit);
    let quants = bytes32_ones(plane_quants[row * (COLUMNS / 32u) + unit]);
    return weights_centered(quants, 0.5, vec2<f32>(2.0 * scale));
}

fn dot32(row: u32, unit: u32, v: Inputs32) -> f32 {
    let products = dot_ones(plane_quants[row * (COLUMNS / 32u) + unit], v);
    return q1_0_scale(row, unit) * (2.0 * products - (v.sums.x + v.sums.y));
}
