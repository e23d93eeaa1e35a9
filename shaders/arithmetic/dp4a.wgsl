// Arithmetic with inputs rounded to signed bytes: the functions of arithmetic/f32. Each eight
// inputs have a scale that makes the largest of them 127. dot4I8Packed computes four products and
// their sum, exactly.
#import lib/bytes32
struct Inputs32 {
    x0: u32,
    x1: u32,
    x2: u32,
    x3: u32,
    x4: u32,
    x5: u32,
    x6: u32,
    x7: u32,
    scales: vec4<f32>,
    sums: vec2<f32>,
    scale: f32,
}

// Eight inputs, a byte each, and their scale; zeros if their scale is below 1e-30.
struct Packed8 {
    a: u32,
    b: u32,
    scale: f32,
}

fn packed8(a: vec4<f32>, b: vec4<f32>) -> Packed8 {
    let both = max(abs(a), abs(b));
    let scale = max(max(both.x, both.y), max(both.z, both.w)) / 127.0;
    let inverse = select(0.0, 1.0 / scale, scale > 1e-30);
    return Packed8(
        pack4xI8(vec4<i32>(round(a * inverse))), pack4xI8(vec4<i32>(round(b * inverse))), scale,
    );
}

fn inputs32(
    x0: vec4<f32>, x1: vec4<f32>, x2: vec4<f32>, x3: vec4<f32>,
    x4: vec4<f32>, x5: vec4<f32>, x6: vec4<f32>, x7: vec4<f32>,
) -> Inputs32 {
    let p = packed8(x0, x1);
    let q = packed8(x2, x3);
    let r = packed8(x4, x5);
    let s = packed8(x6, x7);
    let scales = vec4<f32>(p.scale, q.scale, r.scale, s.scale);
    var v = Inputs32(p.a, p.b, q.a, q.b, r.a, r.b, s.a, s.b, scales, vec2<f32>(), 1.0);
    v.sums = dot_bytes(vec4<u32>(0x01010101u), vec4<u32>(0x01010101u), v);
    return v;
}

fn dot_bytes(a: vec4<u32>, b: vec4<u32>, v: Inputs32) -> vec2<f32> {
    let products = v.scales * vec4<f32>(vec4<i32>(
        dot4I8Packed(a.x, v.x0) + dot4I8Packed(a.y, v.x1),
        dot4I8Packed(a.z, v.x2) + dot4I8Packed(a.w, v.x3),
        dot4I8Packed(b.x, v.x4) + dot4I8Packed(b.y, v.x5),
        dot4I8Packed(b.z, v.x6) + dot4I8Packed(b.w, v.x7),
    ));
    return products.xz + products.yw;
}

fn dot_signed(a: vec4<u32>, b: vec4<u32>, v: Inputs32) -> vec2<f32> {
    return dot_bytes(a, b, v);
}

fn dot_all(bytes: Bytes32, v: Inputs32) -> f32 {
    let products = dot_bytes(bytes.a, bytes.b, v);
    return products.x + products.y;
}

fn dot_ones(h: u32, v: Inputs32) -> f32 {
    return dot_all(bytes32_ones(h), v);
}

fn dot_twos(q: vec2<u32>, v: Inputs32) -> vec2<f32> {
    let bytes = bytes32_twos(q);
    return dot_bytes(bytes.a, bytes.b, v);
}

fn dot_threes(q: vec2<u32>, h: u32, v: Inputs32) -> vec2<f32> {
    let bytes = bytes32_threes(q, h);
    return dot_bytes(bytes.a, bytes.b, v);
}

fn dot_nibbles(q: vec4<u32>, v: Inputs32) -> f32 {
    return dot_all(bytes32_nibbles(q), v);
}

fn dot_fives(q: vec4<u32>, h: u32, v: Inputs32) -> f32 {
    return dot_all(bytes32_fives(q, h), v);
}
