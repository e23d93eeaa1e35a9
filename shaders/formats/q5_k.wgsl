// Q5_K: weight = quant · (d · scale) - dmin · minimum. One vector of nibbles per unit; twelve words
// per super-block of eight units: d and dmin, low four bits of the units' scales and minima (a byte
// per unit, two words), high two bits of them (a nibble per unit), then one word of high bits per
// unit (bit 8i + k for weight 4k + i).
@group(1) @binding(0) var<storage, read> plane_quants: array<vec4<u32>>;
@group(1) @binding(1) var<storage, read> plane_scales: array<u32>;

// Scale and negated minimum of a unit.
fn q5_k_scale(base: u32, group: u32) -> vec2<f32> {
    let low = plane_scales[base + 1u + group / 4u] >> (8u * (group & 3u));
    let high = plane_scales[base + 3u] >> (4u * group);
    let scale = (low & 15u) | ((high & 3u) << 4u);
    let minimum = ((low >> 4u) & 15u) | (((high >> 2u) & 3u) << 4u);
    return unpack2x16float(plane_scales[base]) * vec2<f32>(f32(scale), -f32(minimum));
}

fn weights32(row: u32, unit: u32) -> Weights32 {
    let units = (COLUMNS + 31u) / 32u;
    let q = plane_quants[row * units + unit];
    let base = 12u * (row * (units / 8u) + unit / 8u);
    let scale = q5_k_scale(base, unit & 7u);
    let h = plane_scales[base + 4u + (unit & 7u)];
    return Weights32(
        scale.x * weights_fives(q.x, h << 4u) + scale.y,
        scale.x * weights_fives(q.x >> 4u, h << 3u) + scale.y,
        scale.x * weights_fives(q.y, h << 2u) + scale.y,
        scale.x * weights_fives(q.y >> 4u, h << 1u) + scale.y,
        scale.x * weights_fives(q.z, h) + scale.y,
        scale.x * weights_fives(q.z >> 4u, h >> 1u) + scale.y,
        scale.x * weights_fives(q.w, h >> 2u) + scale.y,
        scale.x * weights_fives(q.w >> 4u, h >> 3u) + scale.y,
    );
}

fn dot32(row: u32, unit: u32, v: Inputs32) -> f32 {
    let units = (COLUMNS + 31u) / 32u;
    let base = 12u * (row * (units / 8u) + unit / 8u);
    let scale = q5_k_scale(base, unit & 7u);
    let h = plane_scales[base + 4u + (unit & 7u)];
    let products = dot_fives(plane_quants[row * units + unit], h, v);
    return scale.x * products + scale.y * (v.sums.x + v.sums.y);
}
