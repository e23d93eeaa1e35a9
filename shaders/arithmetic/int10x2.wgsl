// Arithmetic with inputs rounded to ten bits: the functions of arithmetic/f32 for quants of at most
// four bits; its dot_signed is for bytes from -16 to 16. Each unit of inputs has a scale that makes
// the largest of them 511. One 32-bit multiplication computes two products and their sum, exactly.
// For software adapters: a CPU multiplies words as fast as it converts them.
//
// A word with two quants in its halves, a0 + 2¹⁶ a1, times x1 + 2¹⁶ x0 has a0 x0 + a1 x1 in its
// upper half. Such products can be summed while each half stays within 16 signed bits.
struct Inputs32 {
    x0: vec2<u32>,
    x1: vec2<u32>,
    x2: vec2<u32>,
    x3: vec2<u32>,
    x4: vec2<u32>,
    x5: vec2<u32>,
    x6: vec2<u32>,
    x7: vec2<u32>,
    sums: vec2<f32>,
    scale: f32,
}

// Four inputs of a unit, times the inverse of its scale: the first with the third and the second
// with the fourth, because a mask selects bytes 0 and 2, or 1 and 3, of a word.
fn pairs_quad(x: vec4<f32>, inverse: f32) -> vec2<u32> {
    let whole = vec4<i32>(round(x * inverse));
    return bitcast<vec2<u32>>(whole.zw + (whole.xy << vec2<u32>(16u)));
}

// Upper and lower half of a sum of products.
fn pairs_upper(sum: u32) -> i32 {
    return bitcast<i32>(sum + 0x8000u) >> 16u;
}

fn pairs_lower(sum: u32) -> i32 {
    return bitcast<i32>(sum << 16u) >> 16u;
}

fn pairs_sum(x: vec2<u32>) -> f32 {
    let both = x.x + x.y;
    return f32(pairs_upper(both) + pairs_lower(both));
}

// Sum of products of a word of nibbles with 8 inputs, in two sums of halves up to 2 · 2 · 15 · 511.
fn pairs_nibbles(a: u32, x0: vec2<u32>, x1: vec2<u32>) -> i32 {
    let m = 0x000f000fu;
    return pairs_upper((a & m) * x0.x + ((a >> 8u) & m) * x0.y)
        + pairs_upper(((a >> 4u) & m) * x1.x + ((a >> 12u) & m) * x1.y);
}

fn dot_nibbles(q: vec4<u32>, v: Inputs32) -> f32 {
    let low = pairs_nibbles(q.x, v.x0, v.x1) + pairs_nibbles(q.y, v.x2, v.x3);
    let high = pairs_nibbles(q.z, v.x4, v.x5) + pairs_nibbles(q.w, v.x6, v.x7);
    return f32(low + high);
}

// Sum of products of sixteen quants of one bit with four quads of inputs.
fn pairs_ones(h: u32, x0: vec2<u32>, x1: vec2<u32>, x2: vec2<u32>, x3: vec2<u32>) -> i32 {
    let m = 0x00010001u;
    return pairs_upper(
        (h & m) * x0.x + ((h >> 8u) & m) * x0.y
            + ((h >> 1u) & m) * x1.x + ((h >> 9u) & m) * x1.y
            + ((h >> 2u) & m) * x2.x + ((h >> 10u) & m) * x2.y
            + ((h >> 3u) & m) * x3.x + ((h >> 11u) & m) * x3.y,
    );
}

// Sum of products of sixteen quants of two bits, in one sum of halves up to 16 · 3 · 511.
fn pairs_twos(q: u32, x0: vec2<u32>, x1: vec2<u32>, x2: vec2<u32>, x3: vec2<u32>) -> i32 {
    let m = 0x00030003u;
    return pairs_upper(
        (q & m) * x0.x + ((q >> 8u) & m) * x0.y
            + ((q >> 2u) & m) * x1.x + ((q >> 10u) & m) * x1.y
            + ((q >> 4u) & m) * x2.x + ((q >> 12u) & m) * x2.y
            + ((q >> 6u) & m) * x3.x + ((q >> 14u) & m) * x3.y,
    );
}

// Sum of products of four bytes up to 32 with a quad of inputs.
fn pairs_bytes(a: u32, x: vec2<u32>) -> i32 {
    let m = 0x00ff00ffu;
    return pairs_upper((a & m) * x.x) + pairs_upper(((a >> 8u) & m) * x.y);
}

fn dot_ones(h: u32, v: Inputs32) -> f32 {
    return f32(
        pairs_ones(h, v.x0, v.x1, v.x2, v.x3) + pairs_ones(h >> 4u, v.x4, v.x5, v.x6, v.x7),
    );
}

fn dot_twos(q: vec2<u32>, v: Inputs32) -> vec2<f32> {
    let low = pairs_twos(q.x, v.x0, v.x1, v.x2, v.x3);
    return vec2<f32>(vec2<i32>(low, pairs_twos(q.y, v.x4, v.x5, v.x6, v.x7)));
}

fn dot_threes(q: vec2<u32>, h: u32, v: Inputs32) -> vec2<f32> {
    let low = pairs_ones(h, v.x0, v.x1, v.x2, v.x3);
    let high = pairs_ones(h >> 4u, v.x4, v.x5, v.x6, v.x7);
    return dot_twos(q, v) + 4.0 * vec2<f32>(vec2<i32>(low, high));
}

fn dot_signed(a: vec4<u32>, b: vec4<u32>, v: Inputs32) -> vec2<f32> {
    // Bytes plus 16, computed without a carry from one to the next.
    let bias = vec4<u32>(0x70707070u);
    let c = (a ^ vec4<u32>(0x80808080u)) - bias;
    let d = (b ^ vec4<u32>(0x80808080u)) - bias;
    let low = pairs_bytes(c.x, v.x0) + pairs_bytes(c.y, v.x1)
        + pairs_bytes(c.z, v.x2) + pairs_bytes(c.w, v.x3);
    let high = pairs_bytes(d.x, v.x4) + pairs_bytes(d.y, v.x5)
        + pairs_bytes(d.z, v.x6) + pairs_bytes(d.w, v.x7);
    return vec2<f32>(vec2<i32>(low, high)) - 16.0 * v.sums;
}
