// IQ4_NL: weight = level[quant] · scale. One vector of nibbles per unit; f16 scales, two per word.
#import lib/iq4
@group(1) @binding(0) var<storage, read> plane_quants: array<vec4<u32>>;
@group(1) @binding(1) var<storage, read> plane_scales: array<u32>;

fn iq4_nl_scale(row: u32, unit: u32) -> f32 {
    let units = (COLUMNS + 31u) / 32u;
    return weights_half(plane_scales[row * ((units + 1u) / 2u) + unit / 2u], unit & 1u);
}

fn weights32(row: u32, unit: u32) -> Weights32 {
    let q = plane_quants[row * ((COLUMNS + 31u) / 32u) + unit];
    return iq4_weights(q, iq4_nl_scale(row, unit));
}

fn dot32(row: u32, unit: u32, v: Inputs32) -> f32 {
    let q = plane_quants[row * ((COLUMNS + 31u) / 32u) + unit];
    return iq4_nl_scale(row, unit) * iq4_dot(q, v);
}
