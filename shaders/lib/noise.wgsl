// Gumbel noise, −ln(−ln u), of four tokens at a position of the sequence: a hash of seed, position
// and token id. Mirrors src/sampling/noise.rs.

// Hashes four numbers to four (Jarzynski & Olano 2020, Hash Functions for GPU Rendering).
fn pcg4d(numbers: vec4<u32>) -> vec4<u32> {
    var v = numbers * 1664525u + 1013904223u;
    v.x += v.y * v.w;
    v.y += v.z * v.x;
    v.z += v.x * v.y;
    v.w += v.y * v.z;
    v ^= v >> vec4<u32>(16u);
    v.x += v.y * v.w;
    v.y += v.z * v.x;
    v.z += v.x * v.y;
    v.w += v.y * v.z;
    return v;
}

// Noise of the tokens 4 · quad to 4 · quad + 3.
fn gumbel(seed: vec2<u32>, position: u32, quad: u32) -> vec4<f32> {
    let hash = pcg4d(vec4<u32>(seed, position, quad));
    let u = (vec4<f32>(hash) + 0.5) * 0x1p-32;
    // Near u = 1 an f32 has too few bits for u. There −ln u is a series in s = rest / (2 − rest) of
    // the distance from 1, which is exact.
    let rest = (vec4<f32>(~hash) + 0.5) * 0x1p-32;
    let s = rest / (2.0 - rest);
    let t = s * s;
    let near = 2.0 * s * (1.0 + t * (1.0 / 3.0 + t * (0.2 + t * (1.0 / 7.0))));
    return -log(select(-log(u), near, rest < vec4<f32>(0.25)));
}
