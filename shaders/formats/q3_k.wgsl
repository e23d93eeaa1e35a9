// Q3_K: weight = (quant - 4) · (d · (scale - 32)), one scale per 16 weights. One vector of bit
// pairs per two units (bits 8i + 2k of each word for its weight 4k + i); in each row eleven words
// per super-block of eight units (a word of high bits per unit: bit 8i + k for weight 4k + i; low
// four bits of the units' two scales, a byte per unit, two words; high two bits of them, a nibble
// per unit), then f16 d, two per word.
@group(1) @binding(0) var<storage, read> plane_quants: array<vec4<u32>>;
@group(1) @binding(1) var<storage, read> plane_scales: array<u32>;

struct Q3KUnit {
    q: vec2<u32>,
    h: u32,
    scales: vec2<f32>, // of the first and of the last sixteen
}

fn q3_k_unit(row: u32, unit: u32) -> Q3KUnit {
    let units = (COLUMNS + 31u) / 32u;
    let blocks = units / 8u;
    let block = unit / 8u;
    let group = unit & 7u;
    let both = plane_quants[row * (units / 2u) + unit / 2u];
    let base = row * (11u * blocks + (blocks + 1u) / 2u);
    let at = base + 11u * block;
    let low = plane_scales[at + 8u + group / 4u] >> (8u * (group & 3u));
    let high = plane_scales[at + 10u] >> (4u * group);
    let a = (low & 15u) | ((high & 3u) << 4u);
    let b = ((low >> 4u) & 15u) | (((high >> 2u) & 3u) << 4u);
    let d = weights_half(plane_scales[base + 11u * blocks + block / 2u], block & 1u);
    let scales = d * (vec2<f32>(vec2<u32>(a, b)) - 32.0);
    return Q3KUnit(select(both.xy, both.zw, (unit & 1u) != 0u), plane_scales[at + group], scales);
}

fn weights32(row: u32, unit: u32) -> Weights32 {
    let w = q3_k_unit(row, unit);
    return weights_centered(bytes32_threes(w.q, w.h), 4.0, w.scales);
}

fn dot32(row: u32, unit: u32, v: Inputs32) -> f32 {
    let w = q3_k_unit(row, unit);
    let products = w.scales * (dot_threes(w.q, w.h, v) - 4.0 * v.sums);
    return products.x + products.y;
}
