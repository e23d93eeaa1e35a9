// token ← argmax(logits) at temperature 0, else a draw from softmax(logits / temperature) over the
// tokens that top-k, top-p and min-p leave. These apply in this order, to the distribution before
// temperature. A draw takes the greatest of logit / temperature + noise; if nothing is cut, `best`
// holds these scores already. Also writes the token, position and rows of the next step; it has 0
// rows if generation ends. A step of no rows changes nothing.
// One workgroup. An invocation takes 4 · FOURS consecutive quads of logits, so that the order of
// the invocations is the order of the tokens.
#import lib/sampling
override VOCABULARY: u32;
override FOURS: u32;

@group(0) @binding(1) var<storage, read> sampling: SamplingParameters; // [1]
@group(0) @binding(2) var<storage, read> logits: array<vec4<u32>>; // [quads], as bits
// Keys of the greatest score of each quad.
@group(0) @binding(3) var<storage, read> best: array<vec4<u32>>; // [quads / 4]
// Bits of the bias, and occurrences.
@group(0) @binding(4) var<storage, read_write> adjustments: array<vec2<u32>>; // [VOCABULARY]
@group(0) @binding(5) var<storage, read_write> tokens: array<u32>; // [rows]
// Position and rows of the next step, token, flags.
@group(0) @binding(6) var<storage, read_write> sampled_token: array<u32>; // [4]

const LANES = 256u;
// Flags, as in SampledToken of src/kernels/sampling.rs.
const STOPPED = 1u;
const BAD_LOGIT = 2u;
const NOTHING_LEFT = 4u;

var<workgroup> lane_best: array<vec2<u32>, 256>;
var<workgroup> lane_sums: array<array<vec4<f32>, 2>, 256>;
var<workgroup> part_sums: array<array<vec4<f32>, 2>, 16>;
var<workgroup> lane_ties: array<u32, 256>;

// Key and index of the greatest score of the row.
var<private> greatest: vec2<u32>;

// Tokens to keep: those with keys above `key`, and the first `ties` of those whose key equals it.
struct Cut {
    key: u32,
    ties: u32,
}

// The least key to keep.
struct Boundary {
    key: u32,
    above: f32, // count or mass of the keys above it
}

// Probability of a token, relative to the most likely one.
fn weight(key: u32) -> f32 {
    if (key <= MINUS_INFINITY_KEY) {
        return 0.0;
    }
    return exp(number_of(key) - number_of(greatest.x));
}

// The greatest of a key with its index and four more keys, whose indices begin at 4 · four. Of
// equal keys the first stays.
fn better_of_four(best: vec2<u32>, four: u32, keys: vec4<u32>) -> vec2<u32> {
    let first = four * 4u;
    var better = select(best, vec2<u32>(keys.x, first), keys.x > best.x);
    better = select(better, vec2<u32>(keys.y, first + 1u), keys.y > better.x);
    better = select(better, vec2<u32>(keys.z, first + 2u), keys.z > better.x);
    return select(better, vec2<u32>(keys.w, first + 3u), keys.w > better.x);
}

// End of the range of fours that an invocation takes; a four is four quads.
fn end_of(lane: u32) -> u32 {
    return min((lane + 1u) * FOURS, (VOCABULARY + 15u) / 16u);
}

// The greatest key of all invocations with its index, the lowest index among equals.
fn best_of_lanes(lane: u32, own: vec2<u32>) -> vec2<u32> {
    var mine = own;
    lane_best[lane] = mine;
    workgroupBarrier();
    if (lane % 16u == 0u) {
        for (var other = lane + 1u; other < lane + 16u; other++) {
            mine = select(mine, lane_best[other], lane_best[other].x > mine.x);
        }
        lane_best[lane] = mine;
    }
    workgroupBarrier();
    mine = lane_best[0];
    for (var other = 16u; other < LANES; other += 16u) {
        mine = select(mine, lane_best[other], lane_best[other].x > mine.x);
    }
    // All have read before the next call writes.
    workgroupBarrier();
    return mine;
}

fn find_greatest(lane: u32) {
    var mine = vec2<u32>();
    for (var four = lane * FOURS; four < end_of(lane); four++) {
        mine = better_of_four(mine, four, best[four]);
    }
    let quad = best_of_lanes(lane, mine).y;
    greatest = better_of_four(vec2<u32>(), quad, score_keys(quad, logits[quad]));
}

// Count or mass of the keys that are at least key + (d << shift), for d = 0 to 7.
fn at_least(lane: u32, key: u32, shift: u32, by_mass: bool) -> array<vec4<f32>, 2> {
    let low = vec4<u32>(key) + (vec4<u32>(0u, 1u, 2u, 3u) << vec4<u32>(shift));
    let high = low + vec4<u32>(4u << shift);
    var sums = array<vec4<f32>, 2>();
    for (var four = lane * FOURS; four < end_of(lane); four++) {
        let bounds = best[four];
        for (var place = 0u; place < 4u; place++) {
            if (bounds[place] < key) {
                continue;
            }
            let quad = four * 4u + place;
            let keys = keys_of(quad, logits[quad]);
            for (var i = 0u; i < 4u; i++) {
                let own = keys[i];
                let one = select(select(0.0, 1.0, own > MINUS_INFINITY_KEY), weight(own), by_mass);
                sums[0] += select(vec4<f32>(), vec4<f32>(one), vec4<u32>(own) >= low);
                sums[1] += select(vec4<f32>(), vec4<f32>(one), vec4<u32>(own) >= high);
            }
        }
    }
    lane_sums[lane] = sums;
    workgroupBarrier();
    if (lane < 16u) {
        var part = lane_sums[lane * 16u];
        for (var other = lane * 16u + 1u; other < lane * 16u + 16u; other++) {
            part[0] += lane_sums[other][0];
            part[1] += lane_sums[other][1];
        }
        part_sums[lane] = part;
    }
    workgroupBarrier();
    var total = part_sums[0];
    for (var other = 1u; other < 16u; other++) {
        total[0] += part_sums[other][0];
        total[1] += part_sums[other][1];
    }
    // All have read before the next call writes.
    workgroupBarrier();
    return total;
}

// The greatest key such that all keys from it on have the count or mass `wanted`. A radix search:
// ten digits of three bits and one of two, from the highest. The sums of the eight digits never
// rise from one to the next, in spite of rounding, because each adds the terms of the next one and
// more, in the same order.
fn boundary(lane: u32, by_mass: bool, wanted: f32) -> Boundary {
    var found = Boundary(0u, 0.0);
    for (var digit = 0u; digit < 11u; digit++) {
        let shift = max(29u, digit * 3u) - digit * 3u;
        let sums = at_least(lane, found.key, shift, by_mass);
        let enough = vec4<u32>(sums[0] >= vec4<f32>(wanted))
            + vec4<u32>(sums[1] >= vec4<f32>(wanted));
        found.key += (max(enough.x + enough.y + enough.z + enough.w, 1u) - 1u) << shift;
        let low = select(sums[0], vec4<f32>(), sums[0] >= vec4<f32>(wanted));
        let high = select(sums[1], vec4<f32>(), sums[1] >= vec4<f32>(wanted));
        let less = max(low, high);
        found.above = max(found.above, max(max(less.x, less.y), max(less.z, less.w)));
    }
    return found;
}

fn find_cut(lane: u32) -> Cut {
    var cut = Cut(0u, 0u);
    if (sampling.top_k > 0u) {
        let found = boundary(lane, false, f32(sampling.top_k));
        cut = Cut(found.key, sampling.top_k - u32(found.above));
    }
    if (sampling.top_p < 1.0) {
        let above = at_least(lane, cut.key + 1u, 0u, true)[0].x;
        let wanted = sampling.top_p * (above + f32(cut.ties) * weight(cut.key));
        var found = boundary(lane, true, wanted);
        if (found.key <= cut.key) {
            found = Boundary(cut.key, above);
        }
        let missing = ceil((wanted - found.above) / max(weight(found.key), 1e-37));
        let ties = u32(clamp(missing, 1.0, 1e9));
        cut = Cut(found.key, min(ties, select(0xffffffffu, cut.ties, found.key == cut.key)));
    }
    let least = key_of(bitcast<u32>(number_of(greatest.x) + sampling.log_min_p));
    if (least > cut.key) {
        cut = Cut(least, 0xffffffffu);
    }
    return cut;
}

// Draws among the tokens that the cuts leave.
fn draw(lane: u32) {
    let cut = find_cut(lane);
    // Of the tokens whose key equals the cut's, those with the lowest ids are kept. Each invocation
    // counts its own, so that the next ones know how many are left.
    var ties = 0u;
    for (var four = lane * FOURS; four < end_of(lane); four++) {
        let bounds = best[four];
        for (var place = 0u; place < 4u; place++) {
            if (bounds[place] < cut.key) {
                continue;
            }
            let quad = four * 4u + place;
            let equal = vec4<u32>(keys_of(quad, logits[quad]) == vec4<u32>(cut.key));
            ties += equal.x + equal.y + equal.z + equal.w;
        }
    }
    lane_ties[lane] = ties;
    workgroupBarrier();
    var ties_left = cut.ties;
    for (var other = 0u; other < lane && ties > 0u; other++) {
        ties_left -= min(ties_left, lane_ties[other]);
    }
    var mine = vec2<u32>(0u, greatest.y);
    for (var four = lane * FOURS; four < end_of(lane); four++) {
        let bounds = best[four];
        for (var place = 0u; place < 4u; place++) {
            if (bounds[place] < cut.key) {
                continue;
            }
            let quad = four * 4u + place;
            var keys = keys_of(quad, logits[quad]);
            for (var i = 0u; i < 4u; i++) {
                let is_left = keys[i] > cut.key || (keys[i] == cut.key && ties_left > 0u);
                ties_left -= u32(is_left && keys[i] == cut.key);
                keys[i] = select(0u, keys[i], is_left);
            }
            if (any(keys > vec4<u32>(MINUS_INFINITY_KEY))) {
                mine = better_of_four(mine, quad, draw_keys(quad, keys));
            }
        }
    }
    mine = best_of_lanes(lane, mine);
    if (lane == 0u) {
        finish(mine.y);
    }
}

// Writes the result; called by one invocation.
fn finish(chosen: u32) {
    var token = chosen;
    var flags = 0u;
    for (var i = 0u; i < 32u; i++) {
        flags |= select(0u, STOPPED, sampling.stop_tokens[i] == token);
    }
    if (greatest.x >= INFINITY_KEY) {
        flags = BAD_LOGIT;
        token = greatest.y;
    } else if (greatest.x <= MINUS_INFINITY_KEY) {
        flags = NOTHING_LEFT;
    }
    if (flags != BAD_LOGIT && flags != NOTHING_LEFT) {
        adjustments[token].y += 1u;
        tokens[0] = token;
    }
    sampled_token[0] = step.position + step.rows;
    sampled_token[1] = select(0u, 1u, flags == 0u);
    sampled_token[2] = token;
    sampled_token[3] = flags;
}

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
    if (step.rows == 0u) {
        return;
    }
    find_greatest(lane);
    if (sampling.temperature > 0.0 && sampling.has_cuts != 0u) {
        draw(lane);
    } else if (lane == 0u) {
        finish(greatest.y);
    }
}
