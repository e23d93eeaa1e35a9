// MLX's affine formats: weight = quant · scale + bias. Quants of four bits: one vector of nibbles
// per unit; of eight bits: two vectors of bytes. A scale and a bias per MLX_GROUP weights, both in
// one word or, if f32, in two words.
#import lib/dot32
override MLX_BITS: u32; // 4 or 8
override MLX_GROUP: u32;
override MLX_SCALES: u32; // 0: f16, 1: bf16, 2: f32

@group(1) @binding(0) var<storage, read> plane_quants: array<vec4<u32>>;
@group(1) @binding(1) var<storage, read> plane_scales: array<u32>;

// Scale and bias of a group.
fn mlx_scale(group: u32) -> vec2<f32> {
    if (MLX_SCALES == 2u) {
        let words = vec2<u32>(plane_scales[2u * group], plane_scales[2u * group + 1u]);
        return bitcast<vec2<f32>>(words);
    }
    let both = plane_scales[group];
    if (MLX_SCALES == 1u) {
        return bitcast<vec2<f32>>(vec2<u32>(both << 16u, both & 0xffff0000u));
    }
    return unpack2x16float(both);
}

fn weights32(row: u32, unit: u32) -> Weights32 {
    let at = row * (COLUMNS / 32u) + unit;
    let scale = mlx_scale(row * (COLUMNS / MLX_GROUP) + unit * 32u / MLX_GROUP);
    if (MLX_BITS == 4u) {
        return weights_nibbles(plane_quants[at], scale);
    }
    let a = plane_quants[2u * at];
    let b = plane_quants[2u * at + 1u];
    return Weights32(
        scale.x * weights_bytes(a.x) + scale.y, scale.x * weights_bytes(a.y) + scale.y,
        scale.x * weights_bytes(a.z) + scale.y, scale.x * weights_bytes(a.w) + scale.y,
        scale.x * weights_bytes(b.x) + scale.y, scale.x * weights_bytes(b.y) + scale.y,
        scale.x * weights_bytes(b.z) + scale.y, scale.x * weights_bytes(b.w) + scale.y,
    );
}
