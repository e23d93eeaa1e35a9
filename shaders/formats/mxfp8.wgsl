// MXFP8: weight = number · 2^(exponent - 127), numbers in E4M3. Two vectors of bytes per unit;
// exponents, four per word. Scales below 2^-126 are zero, so that they need no subnormal numbers.
#import lib/e4m3
@group(1) @binding(0) var<storage, read> plane_numbers: array<vec4<u32>>;
@group(1) @binding(1) var<storage, read> plane_exponents: array<u32>;

fn mxfp8_unit(row: u32, unit: u32, scale: f32) -> Weights32 {
    let at = 2u * (row * (COLUMNS / 32u) + unit);
    return e4m3_weights(plane_numbers[at], plane_numbers[at + 1u], scale);
}

fn mxfp8_scale(row: u32, unit: u32) -> f32 {
    let word = plane_exponents[row * ((COLUMNS + 127u) / 128u) + unit / 4u];
    return bitcast<f32>(((word >> (8u * (unit & 3u))) & 255u) << 23u);
}

fn weights32(row: u32, unit: u32) -> Weights32 {
    return mxfp8_unit(row, unit, mxfp8_scale(row, unit));
}

fn dot32(row: u32, unit: u32, v: Inputs32) -> f32 {
    return mxfp8_scale(row, unit) * dot_weights(mxfp8_unit(row, unit, 1.0), v);
}
