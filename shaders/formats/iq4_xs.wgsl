// IQ4_XS: weight = level[quant] · (d · (scale - 32)). One vector of nibbles per unit; two words per
// super-block of eight units: f16 d and high two bits of the units' scales (a bit pair per unit),
// low four bits of them (a nibble per unit).
#import lib/iq4
@group(1) @binding(0) var<storage, read> plane_quants: array<vec4<u32>>;
@group(1) @binding(1) var<storage, read> plane_scales: array<u32>;

fn iq4_xs_scale(row: u32, unit: u32) -> f32 {
    let units = (COLUMNS + 31u) / 32u;
    let base = 2u * (row * (units / 8u) + unit / 8u);
    let group = unit & 7u;
    let head = plane_scales[base];
    let low = (plane_scales[base + 1u] >> (4u * group)) & 15u;
    let scale = low | (((head >> (16u + 2u * group)) & 3u) << 4u);
    return unpack2x16float(head & 0xffffu).x * (f32(scale) - 32.0);
}

fn weights32(row: u32, unit: u32) -> Weights32 {
    let q = plane_quants[row * ((COLUMNS + 31u) / 32u) + unit];
    return iq4_weights(q, iq4_xs_scale(row, unit));
}

fn dot32(row: u32, unit: u32, v: Inputs32) -> f32 {
    let q = plane_quants[row * ((COLUMNS + 31u) / 32u) + unit];
    return iq4_xs_scale(row, unit) * iq4_dot(q, v);
}
