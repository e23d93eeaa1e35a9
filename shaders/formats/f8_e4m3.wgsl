// F8_E4M3: weight = number · scale. Two vectors of bytes per unit; one word per row, the scale.
#import lib/dot32

@group(1) @binding(0) var<storage, read> plane_numbers: array<vec4<u32>>;
@group(1) @binding(1) var<storage, read> plane_scales: array<u32>;

// Decodes four numbers from integers and normal powers of two: subnormal f16 or f32 intermediates
// might be flushed to zero.
fn f8_e4m3_quad(word: u32) -> vec4<f32> {
    let bytes = unpack4xU8(word);
    let exponent = (bytes >> vec4<u32>(3u)) & vec4<u32>(15u);
    let leading = select(vec4<u32>(8u), vec4<u32>(), exponent == vec4<u32>());
    let significand = vec4<f32>((bytes & vec4<u32>(7u)) | leading);
    let power = (max(exponent, vec4<u32>(1u)) + 117u) << vec4<u32>(23u);
    // The sign bit of the power is zero before.
    return significand * bitcast<vec4<f32>>(power | ((bytes & vec4<u32>(128u)) << vec4<u32>(24u)));
}

fn weights32(row: u32, unit: u32) -> Weights32 {
    let units = (COLUMNS + 31u) / 32u;
    let at = 2u * (row * units + unit);
    let a = plane_numbers[at];
    let b = plane_numbers[at + 1u];
    let scale = bitcast<f32>(plane_scales[row]);
    return Weights32(
        scale * f8_e4m3_quad(a.x), scale * f8_e4m3_quad(a.y),
        scale * f8_e4m3_quad(a.z), scale * f8_e4m3_quad(a.w),
        scale * f8_e4m3_quad(b.x), scale * f8_e4m3_quad(b.y),
        scale * f8_e4m3_quad(b.z), scale * f8_e4m3_quad(b.w),
    );
}
