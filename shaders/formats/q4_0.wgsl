// Q4_0: weight = (quant - 8) · scale. One vector of nibbles per unit; f16 scales, two per word.
@group(1) @binding(0) var<storage, read> plane_quants: array<vec4<u32>>;
@group(1) @binding(1) var<storage, read> plane_scales: array<u32>;

fn weights32(row: u32, unit: u32) -> Weights32 {
    let units = (COLUMNS + 31u) / 32u;
    let q = plane_quants[row * units + unit];
    let scale = weights_half(plane_scales[row * ((units + 1u) / 2u) + unit / 2u], unit & 1u);
    return Weights32(
        scale * (weights_low(q.x) - 8.0), scale * (weights_high(q.x) - 8.0),
        scale * (weights_low(q.y) - 8.0), scale * (weights_high(q.y) - 8.0),
        scale * (weights_low(q.z) - 8.0), scale * (weights_high(q.z) - 8.0),
        scale * (weights_low(q.w) - 8.0), scale * (weights_high(q.w) - 8.0),
    );
}

fn dot32(row: u32, unit: u32, v: Inputs32) -> f32 {
    let units = (COLUMNS + 31u) / 32u;
    let scale = weights_half(plane_scales[row * ((units + 1u) / 2u) + unit / 2u], unit & 1u);
    return scale * (dot_nibbles(plane_quants[row * units + unit], v) - 8.0 * (v.sums.x + v.sums.y));
}
