// What the kernels that choose a token share. Mirrored by src/kernels/sampling.rs.
struct Sampling {
    temperature: f32, // 0 takes the greatest logit
    top_k: u32, // 0 keeps all
    top_p: f32,
    min_distance: f32, // ln(min_p): how far below the greatest logit one may lie
    repetition_penalty: f32,
    frequency_penalty: f32,
    presence_penalty: f32,
    adjusts: u32, // whether there is a bias or a penalty at all
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
