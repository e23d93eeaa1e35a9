// One unit of a weight row, 32 consecutive weights, four to a vector; a unit of inputs to go with
// it; and the unpacking that the formats share.
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

// What products with a unit of weights need to know of 32 inputs.
struct Inputs32 {
    x0: vec4<f32>,
    x1: vec4<f32>,
    x2: vec4<f32>,
    x3: vec4<f32>,
    x4: vec4<f32>,
    x5: vec4<f32>,
    x6: vec4<f32>,
    x7: vec4<f32>,
    sums: vec2<f32>, // of the first and of the last sixteen
}

fn inputs32(
    x0: vec4<f32>, x1: vec4<f32>, x2: vec4<f32>, x3: vec4<f32>,
    x4: vec4<f32>, x5: vec4<f32>, x6: vec4<f32>, x7: vec4<f32>,
) -> Inputs32 {
    let low = (x0 + x1) + (x2 + x3);
    let high = (x4 + x5) + (x6 + x7);
    let sums = vec2<f32>((low.x + low.y) + (low.z + low.w), (high.x + high.y) + (high.z + high.w));
    return Inputs32(x0, x1, x2, x3, x4, x5, x6, x7, sums);
}

fn dot_weights(w: Weights32, v: Inputs32) -> f32 {
    return dot(w.w0, v.x0) + dot(w.w1, v.x1) + dot(w.w2, v.x2) + dot(w.w3, v.x3)
        + dot(w.w4, v.x4) + dot(w.w5, v.x5) + dot(w.w6, v.x6) + dot(w.w7, v.x7);
}

// Four unsigned bytes. By shifts and as signed numbers: some compilers make several instructions of
// an `unpack4xU8` and of a conversion of unsigned ones.
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

// Products of 32 nibbles.
fn dot_nibbles(q: vec4<u32>, v: Inputs32) -> f32 {
    return dot(weights_low(q.x), v.x0) + dot(weights_high(q.x), v.x1)
        + dot(weights_low(q.y), v.x2) + dot(weights_high(q.y), v.x3)
        + dot(weights_low(q.z), v.x4) + dot(weights_high(q.z), v.x5)
        + dot(weights_low(q.w), v.x6) + dot(weights_high(q.w), v.x7);
}

// Products of 32 nibbles with a fifth bit, bit 8i + k for weight 4k + i.
fn dot_fives(q: vec4<u32>, h: u32, v: Inputs32) -> f32 {
    return dot(weights_fives(q.x, h << 4u), v.x0) + dot(weights_fives(q.x >> 4u, h << 3u), v.x1)
        + dot(weights_fives(q.y, h << 2u), v.x2) + dot(weights_fives(q.y >> 4u, h << 1u), v.x3)
        + dot(weights_fives(q.z, h), v.x4) + dot(weights_fives(q.z >> 4u, h >> 1u), v.x5)
        + dot(weights_fives(q.w, h >> 2u), v.x6) + dot(weights_fives(q.w >> 4u, h >> 3u), v.x7);
}
