// What the kernels that choose a token share. Mirrored by src/kernels/sampling.rs.
// They declare how it is chosen, `sampling`, and the tokens there are, VOCABULARY.
#import lib/noise
#import lib/step

struct Sampling {
    temperature: f32, // 0 takes the greatest logit
    top_k: u32, // 0 keeps all
    top_p: f32,
    min_distance: f32, // ln(min_p): how far below the greatest logit one may lie
    repetition_penalty: f32,
    frequency_penalty: f32,
    presence_penalty: f32,
    adjusts: u32, // whether there is a bias or a penalty at all
    cuts: u32, // whether top-k, top-p or min-p may leave tokens out
    seed_low: u32,
    seed_high: u32,
    stops: array<u32, 32>, // tokens that end an answer; what is no token fills the rest
}

const MINUS_INFINITY = 0xff800000u; // as bits
const LEAST_KEY = 0x007fffffu; // minus infinity's
const BAD_KEY = 0xff800000u; // infinity's: from here on no logits

// Keys are ordered as the numbers whose bits they come from, what is no number above them all;
// both zeros have one. By bits, because compilers may assume that all numbers are finite.
fn key_of(bits: u32) -> u32 {
    let magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        return 0xffffffffu;
    }
    return select(magnitude | 0x80000000u, ~bits, magnitude != 0u && bits != magnitude);
}

fn logit_of(key: u32) -> f32 {
    return bitcast<f32>(select(~key, key & 0x7fffffffu, key >= 0x80000000u));
}

// Keys of four logits.
fn keys_of(quad: u32, bits: vec4<u32>) -> vec4<u32> {
    let keys = vec4<u32>(key_of(bits.x), key_of(bits.y), key_of(bits.z), key_of(bits.w));
    let ids = quad * 4u + vec4<u32>(0u, 1u, 2u, 3u);
    return select(vec4<u32>(), keys, ids < vec4<u32>(VOCABULARY));
}

// Keys of what a draw takes the greatest of: logit / temperature plus noise. Bounded, so that it
// is a number whatever the temperature.
fn drawn_keys(quad: u32, keys: vec4<u32>) -> vec4<u32> {
    let bound = vec4<f32>(1e36 * sampling.temperature);
    let logits = vec4<f32>(logit_of(keys.x), logit_of(keys.y), logit_of(keys.z), logit_of(keys.w));
    let seed = vec2<u32>(sampling.seed_low, sampling.seed_high);
    let scores = clamp(logits, -bound, bound) / sampling.temperature
        + gumbel(seed, step.position + step.rows, quad);
    let bits = bitcast<vec4<u32>>(scores);
    let drawn = vec4<u32>(key_of(bits.x), key_of(bits.y), key_of(bits.z), key_of(bits.w));
    return select(keys, drawn, (keys > vec4<u32>(LEAST_KEY)) & (keys < vec4<u32>(BAD_KEY)));
}

// Keys of four scores: what is drawn by where nothing is cut, else logits.
fn score_keys(quad: u32, bits: vec4<u32>) -> vec4<u32> {
    let keys = keys_of(quad, bits);
    if (sampling.temperature > 0.0 && sampling.cuts == 0u) {
        return drawn_keys(quad, keys);
    }
    return keys;
}

// The greatest of them.
fn best_of_quad(quad: u32, bits: vec4<u32>) -> u32 {
    let keys = score_keys(quad, bits);
    return max(max(keys.x, keys.y), max(keys.z, keys.w));
}
