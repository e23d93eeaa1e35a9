// Q5_0: weight = (quant - 16) · scale. One vector of nibbles per unit; in each row one word of high
// bits per unit (bit 8i + k for weight 4k + i), then f16 scales, two per word.
@group(1) @binding(0) var<storage, read> plane_quants: array<vec4<u32>>;
@group(1) @binding(1) var<storage, read> plane_scales: array<u32>;

fn weights32(row: u32, unit: u32) -> Weights32 {
    let units = (COLUMNS + 31u) / 32u;
    let q = plane_quants[row * units + unit];
    let base = row * (units + (units + 1u) / 2u);
    let h = plane_scales[base + unit];
    let scale = weights_half(plane_scales[base + units + unit / 2u], unit & 1u);
    return Weights32(
        scale * (weights_fives(q.x, h << 4u) - 16.0),
        scale * (weights_fives(q.x >> 4u, h << 3u) - 16.0),
        scale * (weights_fives(q.y, h << 2u) - 16.0),
        scale * (weights_fives(q.y >> 4u, h << 1u) - 16.0),
        scale * (weights_fives(q.z, h) - 16.0), scale * (weights_fives(q.z >> 4u, h >> 1u) - 16.0),
        scale * (weights_fives(q.w, h >> 2u) - 16.0),
        scale * (weights_fives(q.w >> 4u, h >> 3u) - 16.0),
    );
}

fn dot32(row: u32, unit: u32, v: Inputs32) -> f32 {
    let units = (COLUMNS + 31u) / 32u;
    let base = row * (units + (units + 1u) / 2u);
    let scale = weights_half(plane_scales[base + units + unit / 2u], unit & 1u);
    let products = dot_fives(plane_quants[row * units + unit], plane_scales[base + unit], v);
    return scale * (products - 16.0 * (v.sums.x + v.sums.y));
}
