// Parameters of sampling, sort keys of logits, and scores: what the kernels adjust_logits and
// sample and the epilogue `best` share. Mirrors src/sampling.
// Importers declare the buffer `sampling` and the override VOCABULARY.
#import lib/noise
#import lib/step

// Mirrors src/sampling/parameters.rs.
struct SamplingParameters {
    temperature: f32, // 0 takes the greatest logit
    top_k: u32, // 0 keeps all
    top_p: f32,
    log_min_p: f32, // how far below the greatest logit one may lie
    repetition_penalty: f32,
    frequency_penalty: f32,
    presence_penalty: f32,
    has_adjustments: u32, // 1 if there is a bias or a penalty
    has_cuts: u32, // 1 if top-k, top-p or min-p may remove tokens
    seed_low: u32,
    seed_high: u32,
    stop_tokens: array<u32, 32>, // filled up with 0xffffffff
}

const MINUS_INFINITY = 0xff800000u; // bits of −∞
const MINUS_INFINITY_KEY = 0x007fffffu; // its key: up to it nothing can be sampled
const INFINITY_KEY = 0xff800000u; // key of +∞; that of NaN is greater

// The sort key of a number, by its bits: keys have the order of the numbers, NaN above them all;
// both zeros have one key. Integers, because compilers may assume that floats are finite.
fn key_of(bits: u32) -> u32 {
    let magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        return 0xffffffffu;
    }
    return select(magnitude | 0x80000000u, ~bits, magnitude != 0u && bits != magnitude);
}

fn number_of(key: u32) -> f32 {
    return bitcast<f32>(select(~key, key & 0x7fffffffu, key >= 0x80000000u));
}

// Keys of the logits of a quad, 0 past the end of the vocabulary.
fn keys_of(quad: u32, bits: vec4<u32>) -> vec4<u32> {
    let keys = vec4<u32>(key_of(bits.x), key_of(bits.y), key_of(bits.z), key_of(bits.w));
    let ids = quad * 4u + vec4<u32>(0u, 1u, 2u, 3u);
    return select(vec4<u32>(), keys, ids < vec4<u32>(VOCABULARY));
}

// Keys of logit / temperature + noise, from keys of logits: the token with the greatest one is a
// draw. The bound keeps the quotient finite at any temperature.
fn draw_keys(quad: u32, keys: vec4<u32>) -> vec4<u32> {
    let bound = vec4<f32>(1e36 * sampling.temperature);
    let logits =
        vec4<f32>(number_of(keys.x), number_of(keys.y), number_of(keys.z), number_of(keys.w));
    let seed = vec2<u32>(sampling.seed_low, sampling.seed_high);
    let scores = clamp(logits, -bound, bound) / sampling.temperature
        + gumbel(seed, step.position + step.rows, quad);
    let bits = bitcast<vec4<u32>>(scores);
    let drawn = vec4<u32>(key_of(bits.x), key_of(bits.y), key_of(bits.z), key_of(bits.w));
    let is_finite =
        (keys > vec4<u32>(MINUS_INFINITY_KEY)) & (keys < vec4<u32>(INFINITY_KEY));
    return select(keys, drawn, is_finite);
}

// Keys of the scores of a quad: logit / temperature + noise for a draw without cuts, else logits.
fn score_keys(quad: u32, bits: vec4<u32>) -> vec4<u32> {
    let keys = keys_of(quad, bits);
    if (sampling.temperature > 0.0 && sampling.has_cuts == 0u) {
        return draw_keys(quad, keys);
    }
    return keys;
}

// Key of the greatest score of a quad.
fn best_of_quad(quad: u32, bits: vec4<u32>) -> u32 {
    let keys = score_keys(quad, bits);
    return max(max(keys.x, keys.y), max(keys.z, keys.w));
}
