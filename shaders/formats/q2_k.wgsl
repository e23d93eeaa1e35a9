// Q2_K: weight = quant · (d · scale) - dmin · minimum, a scale and a minimum per 16 weights. One
// vector of bit pairs per two units (bits 8i + 2k of each word for its weight 4k + i); five words
// per super-block of eight units: a byte per 16 weights, its scale below its minimum; d and dmin.
@group(1) @binding(0) var<storage, read> plane_quants: array<vec4<u32>>;
@group(1) @binding(1) var<storage, read> plane_scales: array<u32>;

struct Q2KUnit {
    q: vec2<u32>,
    scales: vec2<f32>, // of the first and of the last sixteen
    offsets: vec2<f32>,
}

fn q2_k_unit(row: u32, unit: u32) -> Q2KUnit {
    let units = (COLUMNS + 31u) / 32u;
    let both = plane_quants[row * (units / 2u) + unit / 2u];
    let base = 5u * (row * (units / 8u) + unit / 8u);
    let word = plane_scales[base + (unit & 7u) / 2u] >> (16u * (unit & 1u));
    let d = unpack2x16float(plane_scales[base + 4u]);
    let scales = vec2<f32>(vec2<u32>(word, word >> 8u) & vec2<u32>(15u));
    let minima = vec2<f32>(vec2<u32>(word >> 4u, word >> 12u) & vec2<u32>(15u));
    return Q2KUnit(select(both.xy, both.zw, (unit & 1u) != 0u), d.x * scales, -(d.y * minima));
}

fn weights32(row: u32, unit: u32) -> Weights32 {
    let w = q2_k_unit(row, unit);
    return weights_halves(bytes32_twos(w.q), w.scales, w.offsets);
}

fn dot32(row: u32, unit: u32, v: Inputs32) -> f32 {
    let w = q2_k_unit(row, unit);
    let products = w.scales * dot_twos(w.q, v) + w.offsets * v.sums;
    return products.x + products.y;
}
