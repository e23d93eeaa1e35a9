// MXFP4: weight = number · 2^(exponent - 127), numbers in E2M1. One vector of nibbles per unit;
// exponents, four per word. Numbers are doubled, scales halved. Scales below 2^-126 are zero, so
// that they need no subnormal numbers.
#import lib/fp4
@group(1) @binding(0) var<storage, read> plane_quants: array<vec4<u32>>;
@group(1) @binding(1) var<storage, read> plane_exponents: array<u32>;

fn mxfp4_scale(row: u32, unit: u32) -> f32 {
    let units = (COLUMNS + 31u) / 32u;
    let word = plane_exponents[row * ((units + 3u) / 4u) + unit / 4u];
    let exponent = (word >> (8u * (unit & 3u))) & 255u;
    return bitcast<f32>((max(exponent, 1u) - 1u) << 23u);
}

fn weights32(row: u32, unit: u32) -> Weights32 {
    let q = plane_quants[row * ((COLUMNS + 31u) / 32u) + unit];
    return fp4_weights(q, vec2<f32>(mxfp4_scale(row, unit)));
}

fn dot32(row: u32, unit: u32, v: Inputs32) -> f32 {
    let products = fp4_dot(plane_quants[row * ((COLUMNS + 31u) / 32u) + unit], v);
    return mxfp4_scale(row, unit) * (products.x + products.y);
}
