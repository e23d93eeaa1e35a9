// The sixteen levels of ggml's IQ4 formats: -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25,
// 38, 53, 69, 89, 113. WebGPU has no lookup in registers, so a polynomial computes them. It is at
// most 0.44 from each level, and the rounding makes it exact.
fn iq4_quad(nibbles: vec4<f32>) -> vec4<f32> {
    let n = nibbles;
    return round((((0.00158604 * n + 0.0310864) * n - 1.37193) * n + 24.1738) * n - 126.567);
}

// 32 levels times a scale.
fn iq4_weights(q: vec4<u32>, scale: f32) -> Weights32 {
    return Weights32(
        scale * iq4_quad(weights_low(q.x)), scale * iq4_quad(weights_high(q.x)),
        scale * iq4_quad(weights_low(q.y)), scale * iq4_quad(weights_high(q.y)),
        scale * iq4_quad(weights_low(q.z)), scale * iq4_quad(weights_high(q.z)),
        scale * iq4_quad(weights_low(q.w)), scale * iq4_quad(weights_high(q.w)),
    );
}

// Sum of products of 32 levels with inputs.
fn iq4_dot(q: vec4<u32>, v: Inputs32) -> f32 {
    return dot(iq4_quad(weights_low(q.x)), v.x0) + dot(iq4_quad(weights_high(q.x)), v.x1)
        + dot(iq4_quad(weights_low(q.y)), v.x2) + dot(iq4_quad(weights_high(q.y)), v.x3)
        + dot(iq4_quad(weights_low(q.z)), v.x4) + dot(iq4_quad(weights_high(q.z)), v.x5)
        + dot(iq4_quad(weights_low(q.w)), v.x6) + dot(iq4_quad(weights_high(q.w)), v.x7);
}
