// Arithmetic with inputs rounded to ten bits: the functions of arithmetic/f32 for nibbles. Each
// unit of inputs has a scale that makes the largest of them 511. One 32-bit multiplication computes
// two products and their sum, exactly. For software adapters: a CPU multiplies words as fast as it
// converts them.
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
