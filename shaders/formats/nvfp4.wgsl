// NVFP4: weight = number · scale, numbers in E2M1, a scale in E4M3 per 16. One vector of nibbles
// per unit; one word of scales per two units. Numbers are doubled, scales halved. NVFP4_F32: one
// word in front of the scales of a row, a factor of them.
#import lib/fp4
override NVFP4_HEADER: u32; // 0 or 1

@group(1) @binding(0) var<storage, read> plane_quants: array<vec4<u32>>;
@group(1) @binding(1) var<storage, read> plane_scales: array<u32>;

// Scales of the first and of the last sixteen weights of a unit.
fn nvfp4_scales(row: u32, unit: u32) -> vec2<f32> {
    let base = row * ((COLUMNS + 63u) / 64u + NVFP4_HEADER);
    let word = plane_scales[base + NVFP4_HEADER + unit / 2u] >> (16u * (unit & 1u));
    let bytes = vec2<u32>(word, word >> 8u) & vec2<u32>(255u);
    let exponent = (bytes >> vec2<u32>(3u)) & vec2<u32>(15u);
    let leading = select(vec2<u32>(8u), vec2<u32>(), exponent == vec2<u32>());
    let significand = vec2<f32>((bytes & vec2<u32>(7u)) | leading);
    let power = (max(exponent, vec2<u32>(1u)) + 116u) << vec2<u32>(23u);
    let sign = (bytes & vec2<u32>(128u)) << vec2<u32>(24u);
    let scales = significand * bitcast<vec2<f32>>(power | sign);
    if (NVFP4_HEADER == 0u) {
        return scales;
    }
    return scales * bitcast<f32>(plane_scales[base]);
}

fn weights32(row: u32, unit: u32) -> Weights32 {
    let q = plane_quants[row * ((COLUMNS + 31u) / 32u) + unit];
    return fp4_weights(q, nvfp4_scales(row, unit));
}

fn dot32(row: u32, unit: u32, v: Inputs32) -> f32 {
    let q = plane_quants[row * ((COLUMNS + 31u) / 32u) + unit];
    let products = nvfp4_scales(row, unit) * fp4_dot(q, v);
    return products.x + products.y;
}
