// Arithmetic in f32: a unit of 32 inputs, and its products with quants, which are integers. A
// kernel can import another file of arithmetic/ in place of this one. Each file defines
//   Inputs32: a unit of inputs, divided by .scale; .sums: sums of the first and of the last
//   sixteen;
//   inputs32(x0, … x7): the unit of these inputs;
//   dot_ones(h, v): sum of products with 32 quants of one bit, bit 8i + k of h for weight 4k + i;
//   dot_twos(q, v): with 32 quants of two bits, bits 8i + 2k of each word for its weight 4k + i;
//   the sums of the first and of the last sixteen;
//   dot_threes(q, h, v): with quants of two bits that have a third bit, as in dot_ones; two sums;
//   dot_nibbles(q, v): sum of products with 32 nibbles;
//   dot_fives(q, h, v): with 32 nibbles that have a fifth bit, bit 8i + k of h for weight 4k + i;
//   dot_bytes(a, b, v): with 32 bytes below 64; the sums of the first and of the last sixteen;
//   dot_signed(a, b, v): with 32 signed bytes; two sums.
// The other files omit the functions that their weight formats do not call. Only this one has
// dot_weights, for weights that are not quants.
#import lib/bytes32
struct Inputs32 {
    x0: vec4<f32>,
    x1: vec4<f32>,
    x2: vec4<f32>,
    x3: vec4<f32>,
    x4: vec4<f32>,
    x5: vec4<f32>,
    x6: vec4<f32>,
    x7: vec4<f32>,
    sums: vec2<f32>,
    scale: f32,
}

fn inputs32(
    x0: vec4<f32>, x1: vec4<f32>, x2: vec4<f32>, x3: vec4<f32>,
    x4: vec4<f32>, x5: vec4<f32>, x6: vec4<f32>, x7: vec4<f32>,
) -> Inputs32 {
    let low = (x0 + x1) + (x2 + x3);
    let high = (x4 + x5) + (x6 + x7);
    let sums = vec2<f32>((low.x + low.y) + (low.z + low.w), (high.x + high.y) + (high.z + high.w));
    return Inputs32(x0, x1, x2, x3, x4, x5, x6, x7, sums, 1.0);
}

// Sum of products weight by weight.
fn dot_weights(w: Weights32, v: Inputs32) -> f32 {
    return dot(w.w0, v.x0) + dot(w.w1, v.x1) + dot(w.w2, v.x2) + dot(w.w3, v.x3)
        + dot(w.w4, v.x4) + dot(w.w5, v.x5) + dot(w.w6, v.x6) + dot(w.w7, v.x7);
}

fn dot_nibbles(q: vec4<u32>, v: Inputs32) -> f32 {
    return dot(weights_low(q.x), v.x0) + dot(weights_high(q.x), v.x1)
        + dot(weights_low(q.y), v.x2) + dot(weights_high(q.y), v.x3)
        + dot(weights_low(q.z), v.x4) + dot(weights_high(q.z), v.x5)
        + dot(weights_low(q.w), v.x6) + dot(weights_high(q.w), v.x7);
}

fn dot_fives(q: vec4<u32>, h: u32, v: Inputs32) -> f32 {
    return dot(weights_fives(q.x, h << 4u), v.x0) + dot(weights_fives(q.x >> 4u, h << 3u), v.x1)
        + dot(weights_fives(q.y, h << 2u), v.x2) + dot(weights_fives(q.y >> 4u, h << 1u), v.x3)
        + dot(weights_fives(q.z, h), v.x4) + dot(weights_fives(q.z >> 4u, h >> 1u), v.x5)
        + dot(weights_fives(q.w, h >> 2u), v.x6) + dot(weights_fives(q.w >> 4u, h >> 3u), v.x7);
}

fn dot_bytes(a: vec4<u32>, b: vec4<u32>, v: Inputs32) -> vec2<f32> {
    let low = dot(weights_bytes(a.x), v.x0) + dot(weights_bytes(a.y), v.x1)
        + dot(weights_bytes(a.z), v.x2) + dot(weights_bytes(a.w), v.x3);
    let high = dot(weights_bytes(b.x), v.x4) + dot(weights_bytes(b.y), v.x5)
        + dot(weights_bytes(b.z), v.x6) + dot(weights_bytes(b.w), v.x7);
    return vec2<f32>(low, high);
}

fn dot_signed(a: vec4<u32>, b: vec4<u32>, v: Inputs32) -> vec2<f32> {
    let products = dot_bytes(a ^ vec4<u32>(0x80808080u), b ^ vec4<u32>(0x80808080u), v);
    return products - 128.0 * v.sums;
}

fn dot_ones(h: u32, v: Inputs32) -> f32 {
    let bytes = bytes32_ones(h);
    let products = dot_bytes(bytes.a, bytes.b, v);
    return products.x + products.y;
}

fn dot_twos(q: vec2<u32>, v: Inputs32) -> vec2<f32> {
    let bytes = bytes32_twos(q);
    return dot_bytes(bytes.a, bytes.b, v);
}

fn dot_threes(q: vec2<u32>, h: u32, v: Inputs32) -> vec2<f32> {
    let bytes = bytes32_threes(q, h);
    return dot_bytes(bytes.a, bytes.b, v);
}
