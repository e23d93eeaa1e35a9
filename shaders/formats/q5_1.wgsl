// Q5_1: weight = quant · scale + minimum. One vector of nibbles per unit; two words per unit: high
// bits (bit 8i + k for weight 4k + i), then f16 scale (low half) and minimum (high half).
@group(1) @binding(0) var<storage, read> plane_quants: array<vec4<u32>>;
@group(1) @binding(1) var<storage, read> plane_scales: array<u32>;

fn weights32(row: u32, unit: u32) -> Weights32 {
    let units = (COLUMNS + 31u) / 32u;
    let at = row * units + unit;
    let q = plane_quants[at];
    let h = plane_scales[2u * at];
    let scale = unpack2x16float(plane_scales[2u * at + 1u]);
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
    let at = row * ((COLUMNS + 31u) / 32u) + unit;
    let scale = unpack2x16float(plane_scales[2u * at + 1u]);
    let products = dot_fives(plane_quants[at], plane_scales[2u * at], v);
    return scale.x * products + scale.y * (v.sums.x + v.sums.y);
}
