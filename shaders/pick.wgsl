// token ← the greatest logit's where the temperature is 0; else one drawn by
// softmax(logits / temperature) from what top-k, top-p and min-p leave, in this order, each on the
// distribution before temperature. Then the next step: its token, its position, and whether there
// is one. A step of no rows leaves everything as it is.
// One workgroup; an invocation takes TILES tiles of 32 logits, one after another, so that
// invocations in their order have the tokens in theirs.
#import lib/step
#import lib/sampling
override VOCABULARY: u32;
override TILES: u32;

@group(0) @binding(1) var<storage, read> sampling: Sampling; // [1]
@group(0) @binding(2) var<storage, read> random: array<f32>; // [context + 1], 0 to below 1
@group(0) @binding(3) var<storage, read> logits: array<vec4<u32>>; // [tiles, 8], as bits
@group(0) @binding(4) var<storage, read> best: array<vec2<u32>>; // [tiles], key and id
@group(0) @binding(5) var<storage, read_write> adjustments: array<vec2<u32>>; // [VOCABULARY], bias and occurrences
@group(0) @binding(6) var<storage, read_write> tokens: array<u32>; // [rows]
@group(0) @binding(7) var<storage, read_write> picked: array<u32>; // [4]: position, rows, token, flags

const LANES = 256u;
const STOPPED = 1u;
const BAD_LOGIT = 2u;
const NOTHING_LEFT = 4u;

var<workgroup> lane_best: array<vec2<u32>, 256>;
var<workgroup> lane_sums: array<array<vec4<f32>, 2>, 256>;
var<workgroup> part_sums: array<array<vec4<f32>, 2>, 16>;
var<workgroup> lane_mass: array<f32, 256>;
var<workgroup> lane_ties: array<u32, 256>;
var<workgroup> winner: u32;
var<workgroup> winner_rest: f32;
var<workgroup> winner_ties: u32;

// Of the whole row.
var<private> greatest: vec2<u32>;

// What is kept: keys above `key`, and the first `ties` of those that equal it.
struct Cut {
    key: u32,
    ties: u32,
}

struct Boundary {
    key: u32,
    above: f32, // the count or mass of the keys above it
}

fn key_at(id: u32, bits: u32) -> u32 {
    return select(0u, key_of(bits), id < VOCABULARY);
}

fn weight(key: u32, temperature: f32) -> f32 {
    if (key <= LEAST_KEY) {
        return 0.0;
    }
    return exp((logit_of(key) - logit_of(greatest.x)) / temperature);
}

fn find_greatest(lane: u32) {
    var mine = vec2<u32>(0u, VOCABULARY);
    let end = min((lane + 1u) * TILES, (VOCABULARY + 31u) / 32u);
    for (var tile = lane * TILES; tile < end; tile++) {
        mine = select(mine, best[tile], best[tile].x > mine.x);
    }
    lane_best[lane] = mine;
    workgroupBarrier();
    if (lane % 16u == 0u) {
        for (var other = lane + 1u; other < lane + 16u; other++) {
            mine = select(mine, lane_best[other], lane_best[other].x > mine.x);
        }
        lane_best[lane] = mine;
    }
    workgroupBarrier();
    greatest = lane_best[0];
    for (var other = 16u; other < LANES; other += 16u) {
        greatest = select(greatest, lane_best[other], lane_best[other].x > greatest.x);
    }
}

// Count or mass of the keys that are at least key + d << shift, for d = 0 to 7.
fn at_least(lane: u32, key: u32, shift: u32, by_mass: bool) -> array<vec4<f32>, 2> {
    let low = vec4<u32>(key) + (vec4<u32>(0u, 1u, 2u, 3u) << vec4<u32>(shift));
    let high = low + vec4<u32>(4u << shift);
    var sums = array<vec4<f32>, 2>();
    let end = min((lane + 1u) * TILES, (VOCABULARY + 31u) / 32u);
    for (var tile = lane * TILES; tile < end; tile++) {
        if (best[tile].x < key) {
            continue;
        }
        for (var quad = tile * 8u; quad < tile * 8u + 8u; quad++) {
            let bits = logits[quad];
            for (var i = 0u; i < 4u; i++) {
                let own = key_at(quad * 4u + i, bits[i]);
                let one = select(select(0.0, 1.0, own > LEAST_KEY), weight(own, 1.0), by_mass);
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
    // Before anybody writes the next ones.
    workgroupBarrier();
    return total;
}

// The greatest key such that those at least as great have the count or mass wanted: digit by
// digit of three bits, the last of two. Sums fall from digit to digit, exactly so, because each
// adds the same terms in the same order or leaves them out.
fn boundary(lane: u32, by_mass: bool, wanted: f32) -> Boundary {
    var found = Boundary(0u, 0.0);
    for (var digit = 0u; digit < 11u; digit++) {
        let shift = max(29u, digit * 3u) - digit * 3u;
        let sums = at_least(lane, found.key, shift, by_mass);
        let enough = vec4<u32>(sums[0] >= vec4<f32>(wanted)) + vec4<u32>(sums[1] >= vec4<f32>(wanted));
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
        let wanted = sampling.top_p * (above + f32(cut.ties) * weight(cut.key, 1.0));
        var found = boundary(lane, true, wanted);
        if (found.key <= cut.key) {
            found = Boundary(cut.key, above);
        }
        let missing = ceil((wanted - found.above) / max(weight(found.key, 1.0), 1e-37));
        let ties = u32(clamp(missing, 1.0, 1e9));
        cut = Cut(found.key, min(ties, select(0xffffffffu, cut.ties, found.key == cut.key)));
    }
    let least = key_of(bitcast<u32>(logit_of(greatest.x) + sampling.min_distance));
    if (least > cut.key) {
        cut = Cut(least, 0xffffffffu);
    }
    return cut;
}

// Sets `winner` and where in its part of the mass the draw falls.
fn find_winner(unit: f32, tie_weight: f32, ties: u32) {
    var total = 0.0;
    var ties_left = ties;
    for (var lane = 0u; lane < LANES; lane++) {
        let kept = min(lane_ties[lane], ties_left);
        ties_left -= kept;
        lane_mass[lane] += f32(kept) * tie_weight;
        lane_ties[lane] = kept;
        total += lane_mass[lane];
    }
    winner = 0u;
    var rest = unit * total;
    for (var lane = 0u; lane < LANES && rest >= 0.0; lane++) {
        if (lane_mass[lane] > 0.0) {
            winner = lane;
            winner_rest = rest;
            winner_ties = lane_ties[lane];
            rest -= lane_mass[lane];
        }
    }
}

fn draw(lane: u32, unit: f32) {
    let cut = find_cut(lane);
    let temperature = sampling.temperature;
    var mass = 0.0;
    var ties = 0u;
    let first = lane * TILES;
    let end = min(first + TILES, (VOCABULARY + 31u) / 32u);
    for (var tile = first; tile < end; tile++) {
        if (best[tile].x < cut.key) {
            continue;
        }
        for (var quad = tile * 8u; quad < tile * 8u + 8u; quad++) {
            let bits = logits[quad];
            for (var i = 0u; i < 4u; i++) {
                let own = key_at(quad * 4u + i, bits[i]);
                mass += select(0.0, weight(own, temperature), own > cut.key);
                ties += u32(own == cut.key);
            }
        }
    }
    lane_mass[lane] = mass;
    lane_ties[lane] = ties;
    workgroupBarrier();
    if (lane == 0u) {
        find_winner(unit, weight(cut.key, temperature), cut.ties);
    }
    workgroupBarrier();
    if (lane != winner) {
        return;
    }
    // Rounding may leave a little over: then it is the last one.
    var token = greatest.y;
    var rest = winner_rest;
    var ties_left = winner_ties;
    for (var id = first * 32u; id < end * 32u && rest >= 0.0; id++) {
        let own = key_at(id, logits[id / 4u][id % 4u]);
        let is_tie = own == cut.key && ties_left > 0u;
        ties_left -= u32(is_tie);
        let own_mass = select(0.0, weight(own, temperature), is_tie || own > cut.key);
        if (own_mass > 0.0) {
            token = id;
            rest -= own_mass;
        }
    }
    finish(token);
}

// Called by one invocation.
fn finish(chosen: u32) {
    var token = chosen;
    var flags = 0u;
    for (var i = 0u; i < 32u; i++) {
        flags |= select(0u, STOPPED, sampling.stops[i] == token);
    }
    if (greatest.x >= BAD_KEY) {
        flags = BAD_LOGIT;
        token = greatest.y;
    } else if (greatest.x <= LEAST_KEY) {
        flags = NOTHING_LEFT;
    }
    if (flags != BAD_LOGIT && flags != NOTHING_LEFT) {
        adjustments[token].y += 1u;
        tokens[0] = token;
    }
    picked[0] = step.position + step.rows;
    picked[1] = select(0u, 1u, flags == 0u);
    picked[2] = token;
    picked[3] = flags;
}

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
    if (step.rows == 0u) {
        return;
    }
    find_greatest(lane);
    if (sampling.temperature > 0.0) {
        draw(lane, random[step.position + step.rows]);
    } else if (lane == 0u) {
        finish(greatest.y);
    }
}
