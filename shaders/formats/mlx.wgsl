// MLX's affine formats: weight = quant · scale + bias. Low bits of quants: four, one vector of
// nibbles per unit; two of quants of two or three bits, one vector of bit pairs per two units; or
// all eight, two vectors of bytes per unit. Per MLX_GROUP weights a scale and a bias, both in one
// word or, if f32, in two words; then the high bits of each unit: a word of single bits for quants
// of three and five bits, two words of bit pairs for six.
override MLX_BITS: u32; // 2 to 6, or 8
override MLX_GROUP: u32;
override MLX_SCALES: u32; // 0: f16, 1: bf16, 2: f32

@group(1) @binding(0) var<storage, read> plane_quants: array<vec4<u32>>;
@group(1) @binding(1) var<storage, read> plane_scales: array<u32>;

// Scale and bias at a word.
fn mlx_scale(at: u32) -> vec2<f32> {
    if (MLX_SCALES == 2u) {
        return bitcast<vec2<f32>>(vec2<u32>(plane_scales[at], plane_scales[at + 1u]));
    }
    let both = plane_scales[at];
    if (MLX_SCALES == 1u) {
        return bitcast<vec2<f32>>(vec2<u32>(both << 16u, both & 0xffff0000u));
    }
    return unpack2x16float(both);
}

struct MlxUnit {
    low: vec4<u32>,
    high: vec4<u32>, // of quants of eight bits, the last sixteen
    scale: vec2<f32>, // and bias
}

fn mlx_unit(row: u32, unit: u32) -> MlxUnit {
    var w: MlxUnit;
    // Words of high bits per unit, of scale and bias, and of a block.
    let one = select(0u, 1u, MLX_BITS == 3u || MLX_BITS == 5u);
    let high = select(one, 2u, MLX_BITS == 6u);
    let pair = select(1u, 2u, MLX_SCALES == 2u);
    let group_units = MLX_GROUP / 32u;
    let group = unit / group_units;
    let at = (row * (COLUMNS / MLX_GROUP) + group) * (pair + high * group_units);
    w.scale = mlx_scale(at);
    let high_at = at + pair + high * (unit % group_units);
    let units = COLUMNS / 32u;
    if (MLX_BITS == 8u) {
        w.low = plane_quants[2u * (row * units + unit)];
        w.high = plane_quants[2u * (row * units + unit) + 1u];
    } else if (MLX_BITS < 4u) {
        let both = plane_quants[row * ((units + 1u) / 2u) + unit / 2u];
        w.low = select(both, both.zwxy, (unit & 1u) != 0u);
    } else {
        w.low = plane_quants[row * units + unit];
    }
    if (high > 0u) {
        w.high.x = plane_scales[high_at];
    }
    if (high > 1u) {
        w.high.y = plane_scales[high_at + 1u];
    }
    return w;
}

// Quants of a unit.
fn mlx_bytes(w: MlxUnit) -> Bytes32 {
    if (MLX_BITS == 2u) {
        return bytes32_twos(w.low.xy);
    }
    if (MLX_BITS == 3u) {
        return bytes32_threes(w.low.xy, w.high.x);
    }
    if (MLX_BITS == 5u) {
        return bytes32_fives(w.low, w.high.x);
    }
    if (MLX_BITS == 8u) {
        return Bytes32(w.low, w.high);
    }
    var bytes = bytes32_nibbles(w.low);
    if (MLX_BITS == 6u) {
        let pairs = bytes32_twos(w.high.xy);
        bytes.a |= pairs.a << vec4<u32>(4u);
        bytes.b |= pairs.b << vec4<u32>(4u);
    }
    return bytes;
}

fn weights32(row: u32, unit: u32) -> Weights32 {
    let w = mlx_unit(row, unit);
    return weights_halves(mlx_bytes(w), vec2<f32>(w.scale.x), vec2<f32>(w.scale.y));
}

// Sum of products of quants and inputs.
fn mlx_dot(w: MlxUnit, v: Inputs32) -> f32 {
    if (MLX_BITS == 4u) {
        return dot_nibbles(w.low, v);
    }
    if (MLX_BITS == 5u) {
        return dot_nibbles(w.low, v) + 16.0 * dot_ones(w.high.x, v);
    }
    var products: vec2<f32>;
    if (MLX_BITS == 2u) {
        products = dot_twos(w.low.xy, v);
    } else if (MLX_BITS == 3u) {
        products = dot_threes(w.low.xy, w.high.x, v);
    } else if (MLX_BITS == 6u) {
        products = 16.0 * dot_twos(w.high.xy, v);
        products.x += dot_nibbles(w.low, v);
    } else {
        let sign = vec4<u32>(0x80808080u);
        products = dot_signed(w.low ^ sign, w.high ^ sign, v) + 128.0 * v.sums;
    }
    return products.x + products.y;
}

fn dot32(row: u32, unit: u32, v: Inputs32) -> f32 {
    let w = mlx_unit(row, unit);
    return w.scale.x * mlx_dot(w, v) + w.scale.y * (v.sums.x + v.sums.y);
}
