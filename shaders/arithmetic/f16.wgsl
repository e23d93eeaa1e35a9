// Arithmetic with inputs in f16: the functions of arithmetic/f32. Inputs are scaled so that the
// largest of a unit is 1 and no sum overflows. The sums of a unit are in f16, too.
#import lib/bytes32
struct Inputs32 {
    x0: vec4<f16>,
    x1: vec4<f16>,
    x2: vec4<f16>,
    x3: vec4<f16>,
    x4: vec4<f16>,
    x5: vec4<f16>,
    x6: vec4<f16>,
    x7: vec4<f16>,
    sums: vec2<f32>,
    scale: f32,
}

fn halves_sum(x: vec4<f32>) -> f32 {
    return (x.x + x.y) + (x.z + x.w);
}

fn inputs32(
    x0: vec4<f32>, x1: vec4<f32>, x2: vec4<f32>, x3: vec4<f32>,
    x4: vec4<f32>, x5: vec4<f32>, x6: vec4<f32>, x7: vec4<f32>,
) -> Inputs32 {
    let a = max(max(abs(x0), abs(x1)), max(abs(x2), abs(x3)));
    let b = max(max(abs(x4), abs(x5)), max(abs(x6), abs(x7)));
    let all = max(a, b);
    let scale = max(max(all.x, all.y), max(all.z, all.w));
    // Zeros if the scale is below 1e-30.
    let i = select(0.0, 1.0 / scale, scale > 1e-30);
    var v = Inputs32(
        vec4<f16>(x0 * i), vec4<f16>(x1 * i), vec4<f16>(x2 * i), vec4<f16>(x3 * i),
        vec4<f16>(x4 * i), vec4<f16>(x5 * i), vec4<f16>(x6 * i), vec4<f16>(x7 * i),
        vec2<f32>(), scale,
    );
    let low = (v.x0 + v.x1) + (v.x2 + v.x3);
    let high = (v.x4 + v.x5) + (v.x6 + v.x7);
    v.sums = vec2<f32>(halves_sum(vec4<f32>(low)), halves_sum(vec4<f32>(high)));
    return v;
}

// Four bytes minus their midpoint `around`, so that products cancel before they are rounded.
fn halves_quad(word: u32, around: f16) -> vec4<f16> {
    return vec4<f16>(unpack4xU8(word)) - around;
}

// Products of 32 bytes around a midpoint with the first and with the last sixteen inputs.
fn halves_dot(a: vec4<u32>, b: vec4<u32>, around: f16, v: Inputs32) -> vec2<f32> {
    let low = halves_quad(a.x, around) * v.x0 + halves_quad(a.y, around) * v.x1
        + halves_quad(a.z, around) * v.x2 + halves_quad(a.w, around) * v.x3;
    let high = halves_quad(b.x, around) * v.x4 + halves_quad(b.y, around) * v.x5
        + halves_quad(b.z, around) * v.x6 + halves_quad(b.w, around) * v.x7;
    let products = vec2<f32>(halves_sum(vec4<f32>(low)), halves_sum(vec4<f32>(high)));
    return products + f32(around) * v.sums;
}

fn dot_nibbles(q: vec4<u32>, v: Inputs32) -> f32 {
    let bytes = bytes32_nibbles(q);
    let products = halves_dot(bytes.a, bytes.b, 8.0h, v);
    return products.x + products.y;
}

fn dot_fives(q: vec4<u32>, h: u32, v: Inputs32) -> f32 {
    let bytes = bytes32_fives(q, h);
    let products = halves_dot(bytes.a, bytes.b, 16.0h, v);
    return products.x + products.y;
}

fn dot_bytes(a: vec4<u32>, b: vec4<u32>, v: Inputs32) -> vec2<f32> {
    return halves_dot(a, b, 32.0h, v);
}

fn dot_signed(a: vec4<u32>, b: vec4<u32>, v: Inputs32) -> vec2<f32> {
    let products = halves_dot(a ^ vec4<u32>(0x80808080u), b ^ vec4<u32>(0x80808080u), 128.0h, v);
    return products - 128.0 * v.sums;
}

fn dot_ones(h: u32, v: Inputs32) -> f32 {
    let bytes = bytes32_ones(h);
    let products = halves_dot(bytes.a, bytes.b, 0.5h, v);
    return products.x + products.y;
}

fn dot_twos(q: vec2<u32>, v: Inputs32) -> vec2<f32> {
    let bytes = bytes32_twos(q);
    return halves_dot(bytes.a, bytes.b, 1.5h, v);
}

fn dot_threes(q: vec2<u32>, h: u32, v: Inputs32) -> vec2<f32> {
    let bytes = bytes32_threes(q, h);
    return halves_dot(bytes.a, bytes.b, 4.0h, v);
}
