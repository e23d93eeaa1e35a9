// A unit of a weight row, 32 consecutive weights, four to a vector; and unpacking functions common
// to the formats.
#import arithmetic/f32
#import lib/bytes32
struct Weights32 {
    w0: vec4<f32>,
    w1: vec4<f32>,
    w2: vec4<f32>,
    w3: vec4<f32>,
    w4: vec4<f32>,
    w5: vec4<f32>,
    w6: vec4<f32>,
    w7: vec4<f32>,
}

// Four unsigned bytes, by shifts and as signed numbers: some compilers need several instructions
// for unpack4xU8 and for conversions of unsigned numbers.
fn weights_bytes(word: u32) -> vec4<f32> {
    return vec4<f32>(vec4<i32>(
        i32(word & 255u), i32((word >> 8u) & 255u), i32((word >> 16u) & 255u), i32(word >> 24u),
    ));
}

// The low nibble of each byte.
fn weights_low(word: u32) -> vec4<f32> {
    return weights_bytes(word & 0x0f0f0f0fu);
}

// The high nibble of each byte.
fn weights_high(word: u32) -> vec4<f32> {
    return weights_bytes((word >> 4u) & 0x0f0f0f0fu);
}

// Four nibbles, one a byte, and their fifth bits at bit 4 of each byte.
fn weights_fives(nibbles: u32, fifth: u32) -> vec4<f32> {
    return weights_bytes((nibbles & 0x0f0f0f0fu) | (fifth & 0x10101010u));
}

// The half-precision number in the lower (index 0) or upper (index 1) half of a word.
fn weights_half(word: u32, index: u32) -> f32 {
    let both = unpack2x16float(word);
    return select(both.x, both.y, index != 0u);
}

// 32 nibbles, times scale.x plus scale.y.
fn weights_nibbles(q: vec4<u32>, scale: vec2<f32>) -> Weights32 {
    return Weights32(
        scale.x * weights_low(q.x) + scale.y, scale.x * weights_high(q.x) + scale.y,
        scale.x * weights_low(q.y) + scale.y, scale.x * weights_high(q.y) + scale.y,
        scale.x * weights_low(q.z) + scale.y, scale.x * weights_high(q.z) + scale.y,
        scale.x * weights_low(q.w) + scale.y, scale.x * weights_high(q.w) + scale.y,
    );
}

// 32 bytes times the scale of their sixteen, plus the offset of their sixteen.
fn weights_halves(bytes: Bytes32, scale: vec2<f32>, offset: vec2<f32>) -> Weights32 {
    return Weights32(
        scale.x * weights_bytes(bytes.a.x) + offset.x,
        scale.x * weights_bytes(bytes.a.y) + offset.x,
        scale.x * weights_bytes(bytes.a.z) + offset.x,
        scale.x * weights_bytes(bytes.a.w) + offset.x,
        scale.y * weights_bytes(bytes.b.x) + offset.y,
        scale.y * weights_bytes(bytes.b.y) + offset.y,
        scale.y * weights_bytes(bytes.b.z) + offset.y,
        scale.y * weights_bytes(bytes.b.w) + offset.y,
    );
}

// 32 signed bytes, times the scale of their sixteen.
fn weights_signed(bytes: Bytes32, scale: vec2<f32>) -> Weights32 {
    let high = vec4<u32>(0x80808080u);
    return weights_centered(Bytes32(bytes.a ^ high, bytes.b ^ high), 128.0, scale);
}

// 32 bytes minus zero, times the scale of their sixteen.
fn weights_centered(bytes: Bytes32, zero: f32, scale: vec2<f32>) -> Weights32 {
    return Weights32(
        scale.x * (weights_bytes(bytes.a.x) - zero), scale.x * (weights_bytes(bytes.a.y) - zero),
        scale.x * (weights_bytes(bytes.a.z) - zero), scale.x * (weights_bytes(bytes.a.w) - zero),
        scale.y * (weights_bytes(bytes.b.x) - zero), scale.y * (weights_bytes(bytes.b.y) - zero),
        scale.y * (weights_bytes(bytes.b.z) - zero), scale.y * (weights_bytes(bytes.b.w) - zero),
    );
}
