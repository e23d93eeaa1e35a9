// Q6_K: weight = (quant - 32) · (d · scale), one scale per 16 weights. One vector of nibbles per
// unit; in each row twenty words per super-block of eight units (two words of high bit pairs per
// unit: bits 8i + 2(k % 4) of word k / 4 for weight 4k + i; four words of i8 scales), then f16 d,
// two per word.
#import lib/bytes32
@group(1) @binding(0) var<storage, read> plane_quants: array<vec4<u32>>;
@group(1) @binding(1) var<storage, read> plane_scales: array<u32>;

// Four quants from nibbles, one per byte, and high bit pairs at bits 4 and 5 of each byte.
fn q6_k_quad(nibbles: u32, pairs: u32) -> vec4<f32> {
    return weights_bytes((nibbles & 0x0f0f0f0fu) | (pairs & 0x30303030u));
}

struct Q6KUnit {
    q: vec4<u32>,
    pairs: vec2<u32>,
    scales: vec2<f32>, // of the first and of the last sixteen
}

fn q6_k_unit(row: u32, unit: u32) -> Q6KUnit {
    let units = (COLUMNS + 31u) / 32u;
    let blocks = units / 8u;
    let block = unit / 8u;
    let group = unit & 7u;
    let base = row * (20u * blocks + (blocks + 1u) / 2u);
    let at = base + 20u * block;
    let pairs = vec2<u32>(plane_scales[at + 2u * group], plane_scales[at + 2u * group + 1u]);
    let scales = bitcast<i32>(plane_scales[at + 16u + group / 2u]);
    let d = weights_half(plane_scales[base + 20u * blocks + block / 2u], block & 1u);
    let a = d * f32(extractBits(scales, 16u * (group & 1u), 8u));
    let b = d * f32(extractBits(scales, 16u * (group & 1u) + 8u, 8u));
    return Q6KUnit(plane_quants[row * units + unit], pairs, vec2<f32>(a, b));
}

fn weights32(row: u32, unit: u32) -> Weights32 {
    let w = q6_k_unit(row, unit);
    let p = w.pairs.x;
    let r = w.pairs.y;
    return Weights32(
        w.scales.x * (q6_k_quad(w.q.x, p << 4u) - 32.0),
        w.scales.x * (q6_k_quad(w.q.x >> 4u, p << 2u) - 32.0),
        w.scales.x * (q6_k_quad(w.q.y, p) - 32.0),
        w.scales.x * (q6_k_quad(w.q.y >> 4u, p >> 2u) - 32.0),
        w.scales.y * (q6_k_quad(w.q.z, r << 4u) - 32.0),
        w.scales.y * (q6_k_quad(w.q.z >> 4u, r << 2u) - 32.0),
        w.scales.y * (q6_k_quad(w.q.w, r) - 32.0),
        w.scales.y * (q6_k_quad(w.q.w >> 4u, r >> 2u) - 32.0),
    );
}

fn dot32(row: u32, unit: u32, v: Inputs32) -> f32 {
    let w = q6_k_unit(row, unit);
    let nibbles = bytes32_nibbles(w.q);
    let mask = vec4<u32>(0x30303030u);
    let p = vec4<u32>(w.pairs.x << 4u, w.pairs.x << 2u, w.pairs.x, w.pairs.x >> 2u) & mask;
    let r = vec4<u32>(w.pairs.y << 4u, w.pairs.y << 2u, w.pairs.y, w.pairs.y >> 2u) & mask;
    let products = w.scales * (dot_bytes(nibbles.a | p, nibbles.b | r, v) - 32.0 * v.sums);
    return products.x + products.y;
}
