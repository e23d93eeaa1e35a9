// T4: weight = scale · (u + bend · u³ + shift), u = quant - 7.5. One vector of nibbles per unit;
// heads with bend, shift and scale, two per word.
@group(1) @binding(0) var<storage, read> plane_quants: array<vec4<u32>>;
@group(1) @binding(1) var<storage, read> plane_heads: array<u32>;

// Curve of a unit: scale, scale · bend, scale · shift.
fn t4_curve(row: u32, unit: u32) -> vec3<f32> {
    let units = (COLUMNS + 31u) / 32u;
    let head = plane_heads[row * ((units + 1u) / 2u) + unit / 2u] >> (16u * (unit & 1u));
    // The scale's byte is the exponent and mantissa of an f32 minus a constant.
    let scale = bitcast<f32>(((head & 0xff00u) << 12u) + 0x33800000u);
    return scale * vec3<f32>(1.0, f32(head & 7u) / 256.0, f32((head >> 3u) & 31u) / 4.0 - 4.0);
}

// Four weights without their shift.
fn t4_quad(nibbles: vec4<f32>, curve: vec3<f32>) -> vec4<f32> {
    let u = nibbles - 7.5;
    return u * (curve.x + curve.y * u * u);
}

fn weights32(row: u32, unit: u32) -> Weights32 {
    let q = plane_quants[row * ((COLUMNS + 31u) / 32u) + unit];
    let curve = t4_curve(row, unit);
    return Weights32(
        t4_quad(weights_low(q.x), curve) + curve.z, t4_quad(weights_high(q.x), curve) + curve.z,
        t4_quad(weights_low(q.y), curve) + curve.z, t4_quad(weights_high(q.y), curve) + curve.z,
        t4_quad(weights_low(q.z), curve) + curve.z, t4_quad(weights_high(q.z), curve) + curve.z,
        t4_quad(weights_low(q.w), curve) + curve.z, t4_quad(weights_high(q.w), curve) + curve.z,
    );
}

fn dot32(row: u32, unit: u32, v: Inputs32) -> f32 {
    let q = plane_quants[row * ((COLUMNS + 31u) / 32u) + unit];
    let curve = t4_curve(row, unit);
    return dot(t4_quad(weights_low(q.x), curve), v.x0)
        + dot(t4_quad(weights_high(q.x), curve), v.x1)
        + dot(t4_quad(weights_low(q.y), curve), v.x2)
        + dot(t4_quad(weights_high(q.y), curve), v.x3)
        + dot(t4_quad(weights_low(q.z), curve), v.x4)
        + dot(t4_quad(weights_high(q.z), curve), v.x5)
        + dot(t4_quad(weights_low(q.w), curve), v.x6)
        + dot(t4_quad(weights_high(q.w), curve), v.x7)
        + curve.z * (v.sums.x + v.sums.y);
}
