// logits[t] ← logits[t] with bias and penalties; best[i] = key of the greatest score of the four
// tokens of quad i.
// A workgroup takes 256 quads, an invocation four of them: no barriers, and few loads.
#import lib/sampling
override VOCABULARY: u32;

@group(0) @binding(1) var<storage, read> sampling: SamplingParameters; // [1]
// Bits of the bias, and occurrences.
@group(0) @binding(2) var<storage, read> adjustments: array<vec2<u32>>; // [VOCABULARY]
@group(0) @binding(3) var<storage, read_write> logits: array<vec4<u32>>; // [quads], as bits
@group(0) @binding(4) var<storage, read_write> best: array<vec4<u32>>; // [quads / 4], as keys

// Seam for constrained decoding: a mask of allowed tokens would be binding 5, one bit per token in
// an array<u32> of ceil(VOCABULARY / 32). This function would return MINUS_INFINITY for a token
// whose bit is 0, before anything else; requests with a mask would set `has_adjustments`.
fn adjusted(id: u32, bits: u32) -> u32 {
    let key = key_of(bits);
    if (id >= VOCABULARY || key <= MINUS_INFINITY_KEY || key >= INFINITY_KEY) {
        return bits;
    }
    let adjustment = adjustments[id];
    if (adjustment.x == MINUS_INFINITY) {
        return MINUS_INFINITY;
    }
    var logit = bitcast<f32>(bits) + bitcast<f32>(adjustment.x);
    if (adjustment.y != 0u) {
        let penalty = sampling.repetition_penalty;
        logit = select(logit * penalty, logit / penalty, logit > 0.0);
        // The highest bit says that the prompt holds the token; the others count generated ones.
        let generated = adjustment.y & 0x7fffffffu;
        if (generated > 0u) {
            logit -= sampling.frequency_penalty * f32(generated) + sampling.presence_penalty;
        }
    }
    return bitcast<u32>(logit);
}

fn adjusted_best(quad: u32) -> u32 {
    let id = quad * 4u;
    var bits = logits[quad];
    if (sampling.has_adjustments != 0u) {
        bits = vec4<u32>(
            adjusted(id, bits.x), adjusted(id + 1u, bits.y),
            adjusted(id + 2u, bits.z), adjusted(id + 3u, bits.w),
        );
        logits[quad] = bits;
    }
    return best_of_quad(quad, bits);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) invocation: vec3<u32>) {
    let four = invocation.x;
    if (four * 16u >= VOCABULARY) {
        return;
    }
    let quad = four * 4u;
    best[four] = vec4<u32>(
        adjusted_best(quad), adjusted_best(quad + 1u),
        adjusted_best(quad + 2u), adjusted_best(quad + 3u),
    );
}
