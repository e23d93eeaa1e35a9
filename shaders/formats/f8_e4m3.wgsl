// F8_E4M3: weight = number · scale. Two vectors of bytes per unit; one word per row, the scale, or
// one per 128 weights of a row.
#import lib/e4m3
override F8_E4M3_BLOCKS: u32; // 0 or 1

@group(1) @binding(0) var<storage, read> plane_numbers: array<vec4<u32>>;
@group(1) @binding(1) var<storage, read> plane_scales: array<u32>;

fn f8_e4m3_scale(row: u32, unit: u32) -> f32 {
    let block = row * (COLUMNS / 128u) + unit / 4u;
    return bitcast<f32>(plane_scales[select(row, block, F8_E4M3_BLOCKS == 1u)]);
}

fn f8_e4m3_unit(row: u32, unit: u32, scale: f32) -> Weights32 {
    let at = 2u * (row * ((COLUMNS + 31u) / 32u) + unit);
    return e4m3_weights(plane_numbers[at], plane_numbers[at + 1u], scale);
}

fn weights32(row: u32, unit: u32) -> Weights32 {
    return f8_e4m3_unit(row, unit, f8_e4m3_scale(row, unit));
}

fn dot32(row: u32, unit: u32, v: Inputs32) -> f32 {
    return f8_e4m3_scale(row, unit) * dot_weights(f8_e4m3_unit(row, unit, 1.0), v);
}
