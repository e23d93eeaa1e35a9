// Two numbers in half precision, the first in the lower half of the word. They are rounded to
// nearest, ties to even, before they are packed, because WGSL leaves the rounding to drivers;
// numbers out of range become the largest finite ones.
fn halves(numbers: vec2<f32>) -> u32 {
    let bits = bitcast<vec2<u32>>(clamp(numbers, vec2<f32>(-65504.0), vec2<f32>(65504.0)));
    let even = (bits >> vec2<u32>(13u)) & vec2<u32>(1u);
    let rounded = (bits + 0xfffu + even) & vec2<u32>(0xffffe000u);
    return pack2x16float(bitcast<vec2<f32>>(rounded));
}
