// Four-bit floats (E2M1: sign, two bits of exponent, one of mantissa), doubled: 0, 1, 2, 3, 4, 6,
// 8, 12 and their negatives, as signed bytes.

// Four numbers, one per byte of each word. Integer operations on whole words, without carries from
// one byte to the next.
fn fp4_quads(n: vec4<u32>) -> vec4<u32> {
    let one = vec4<u32>(0x01010101u);
    // The magnitudes 6, 8 and 12 are 1, 2 and 5 above their codes.
    let is_above = ((n >> vec4<u32>(2u)) & one) * 7u;
    let both = n & (n >> vec4<u32>(1u)) & one;
    let above = ((n & vec4<u32>(0x03030303u)) + both + both) & is_above;
    let magnitude = (n & vec4<u32>(0x07070707u)) + above;
    let is_negative = ((n >> vec4<u32>(3u)) & one) * 15u;
    let high = vec4<u32>(0x80808080u);
    return (high + magnitude - ((magnitude & is_negative) << vec4<u32>(1u))) ^ high;
}

// A unit of numbers.
fn fp4_bytes(q: vec4<u32>) -> Bytes32 {
    let nibbles = bytes32_nibbles(q);
    return Bytes32(fp4_quads(nibbles.a), fp4_quads(nibbles.b));
}

// A unit of numbers times the scale of their sixteen.
fn fp4_weights(q: vec4<u32>, scale: vec2<f32>) -> Weights32 {
    return weights_signed(fp4_bytes(q), scale);
}

// Sums of products of the first and of the last sixteen numbers with inputs.
fn fp4_dot(q: vec4<u32>, v: Inputs32) -> vec2<f32> {
    let bytes = fp4_bytes(q);
    return dot_signed(bytes.a, bytes.b, v);
}
