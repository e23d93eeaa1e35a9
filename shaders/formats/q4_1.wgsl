// Q4_1: weight = quant · scale + minimum. One vector of nibbles per unit; one word per unit with
// f16 scale (low half) and minimum (high half).
@group(1) @binding(0) var<storage, read> plane_quants: array<vec4<u32>>;
@group(1) @binding(1) var<storage, read> plane_scales: array<u32>;

fn weights32(row: u32, unit: u32) -> Weights32 {
    let units = (COLUMNS + 31u) / 32u;
    let at = row * units + unit;
    return weights_nibbles(plane_quants[at], unpack2x16float(plane_scales[at]));
}

fn dot32(row: u32, unit: u32, v: Inputs32) -> f32 {
    let at = row * ((COLUMNS + 31u) / 32u) + unit;
    let scale = unpack2x16float(plane_scales[at]);
    return scale.x * dot_nibbles(plane_quants[at], v) + scale.y * (v.sums.x + v.sums.y);
}
