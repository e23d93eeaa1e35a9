// T4: weight = scale · (u + bend · u³ + shift), u = nibble - 7.5. One vector of nibbles a unit; heads
// with bend, shift and scale two a word.
@group(1) @binding(0) var<storage, read> plane_quants: array<vec4<u32>>;
@group(1) @binding(1) var<storage, read> plane_heads: array<u32>;

// curve: scale, scale · bend, scale · shift.
fn t4_quad(nibbles: vec4<f32>, curve: vec3<f32>) -> vec4<f32> {
    let u = nibbles - 7.5;
    return u * (curve.x + curve.y * u * u) + curve.z;
}

fn weights32(row: u32, unit: u32) -> Weights32 {
    let units = (COLUMNS + 31u) / 32u;
    let q = plane_quants[row * units + unit];
    let head = plane_heads[row * ((units + 1u) / 2u) + unit / 2u] >> (16u * (unit & 1u));
    // The byte of the scale is exponent and mantissa of an f32, less a constant.
    let scale = bitcast<f32>(((head & 0xff00u) << 12u) + 0x33800000u);
    let curve = scale * vec3<f32>(1.0, f32(head & 7u) / 256.0, f32((head >> 3u) & 31u) / 4.0 - 4.0);
    return Weights32(
        t4_quad(weights_low(q.x), curve), t4_quad(weights_high(q.x), curve),
        t4_quad(weights_low(q.y), curve), t4_quad(weights_high(q.y), curve),
        t4_quad(weights_low(q.z), curve), t4_quad(weights_high(q.z), curve),
        t4_quad(weights_low(q.w), curve), t4_quad(weights_high(q.w), curve),
    );
}
