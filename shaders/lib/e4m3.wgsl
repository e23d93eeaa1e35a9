// Eight-bit floats in E4M3: sign, four bits of exponent with bias 7, three of mantissa.

// Decodes four numbers from integers and normal powers of two: subnormal f16 or f32 intermediates
// might be flushed to zero.
fn e4m3_quad(word: u32) -> vec4<f32> {
    let bytes = unpack4xU8(word);
    let exponent = (bytes >> vec4<u32>(3u)) & vec4<u32>(15u);
    let leading = select(vec4<u32>(8u), vec4<u32>(), exponent == vec4<u32>());
    let significand = vec4<f32>((bytes & vec4<u32>(7u)) | leading);
    let power = (max(exponent, vec4<u32>(1u)) + 117u) << vec4<u32>(23u);
    // The sign bit of the power is zero before.
    return significand * bitcast<vec4<f32>>(power | ((bytes & vec4<u32>(128u)) << vec4<u32>(24u)));
}

// A unit of numbers, times a scale.
fn e4m3_weights(a: vec4<u32>, b: vec4<u32>, scale: f32) -> Weights32 {
    return Weights32(
        scale * e4m3_quad(a.x), scale * e4m3_quad(a.y), scale * e4m3_quad(a.z),
        scale * e4m3_quad(a.w), scale * e4m3_quad(b.x), scale * e4m3_quad(b.y),
        scale * e4m3_quad(b.z), scale * e4m3_quad(b.w),
    );
}
