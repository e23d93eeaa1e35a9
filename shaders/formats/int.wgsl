// Integers in groups: weight = (quant - zero point) · scale. Quants of four bits: one vector of
// nibbles per unit; of eight bits: two vectors of signed bytes. A scale and a zero point per
// INT_GROUP weights, both in one word or, if f32, in two words.
override INT_BITS: u32; // 4 or 8
override INT_GROUP: u32;
override INT_SCALES: u32; // 0: f16, 1: bf16, 2: f32

@group(1) @binding(0) var<storage, read> plane_quants: array<vec4<u32>>;
@group(1) @binding(1) var<storage, read> plane_scales: array<u32>;

// Scale and zero point of a unit.
fn int_scale(row: u32, unit: u32) -> vec2<f32> {
    let group = row * (COLUMNS / INT_GROUP) + unit * 32u / INT_GROUP;
    if (INT_SCALES == 2u) {
        let words = vec2<u32>(plane_scales[2u * group], plane_scales[2u * group + 1u]);
        return bitcast<vec2<f32>>(words);
    }
    let both = plane_scales[group];
    if (INT_SCALES == 1u) {
        return bitcast<vec2<f32>>(vec2<u32>(both << 16u, both & 0xffff0000u));
    }
    return unpack2x16float(both);
}

fn weights32(row: u32, unit: u32) -> Weights32 {
    let at = row * (COLUMNS / 32u) + unit;
    let scale = int_scale(row, unit);
    if (INT_BITS == 4u) {
        return weights_centered(bytes32_nibbles(plane_quants[at]), scale.y, scale.xx);
    }
    let high = vec4<u32>(0x80808080u);
    let bytes = Bytes32(plane_quants[2u * at] ^ high, plane_quants[2u * at + 1u] ^ high);
    return weights_centered(bytes, scale.y + 128.0, scale.xx);
}

fn dot32(row: u32, unit: u32, v: Inputs32) -> f32 {
    let at = row * (COLUMNS / 32u) + unit;
    let scale = int_scale(row, unit);
    let zeros = scale.y * (v.sums.x + v.sums.y);
    if (INT_BITS == 4u) {
        return scale.x * (dot_nibbles(plane_quants[at], v) - zeros);
    }
    let products = dot_signed(plane_quants[2u * at], plane_quants[2u * at + 1u], v);
    return scale.x * ((products.x + products.y) - zeros);
}
