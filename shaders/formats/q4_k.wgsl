// Q4_K: weight = quant · (d · scale) - dmin · minimum. One vector of nibbles per unit; one vector
// per super-block of eight units: d and dmin, low four bits of the units' scales and minima (a byte
// per unit), high two bits of them (a nibble per unit).
@group(1) @binding(0) var<storage, read> plane_quants: array<vec4<u32>>;
@group(1) @binding(1) var<storage, read> plane_scales: array<vec4<u32>>;

// Scale and negated minimum of a unit.
fn q4_k_scale(s: vec4<u32>, group: u32) -> vec2<f32> {
    let low = select(s.y, s.z, group >= 4u) >> (8u * (group & 3u));
    let high = s.w >> (4u * group);
    let scale = (low & 15u) | ((high & 3u) << 4u);
    let minimum = ((low >> 4u) & 15u) | (((high >> 2u) & 3u) << 4u);
    return unpack2x16float(s.x) * vec2<f32>(f32(scale), -f32(minimum));
}

fn weights32(row: u32, unit: u32) -> Weights32 {
    let units = (COLUMNS + 31u) / 32u;
    let q = plane_quants[row * units + unit];
    let scale = q4_k_scale(plane_scales[row * (units / 8u) + unit / 8u], unit & 7u);
    return weights_nibbles(q, scale);
}

fn dot32(row: u32, unit: u32, v: Inputs32) -> f32 {
    let units = (COLUMNS + 31u) / 32u;
    let scale = q4_k_scale(plane_scales[row * (units / 8u) + unit / 8u], unit & 7u);
    let products = dot_nibbles(plane_quants[row * units + unit], v);
    return scale.x * products + scale.y * (v.sums.x + v.sums.y);
}
