// y = softmax(SCALE · q · keysᵀ) · values by flash attention (Dao et al. 2022): online softmax
// (Milakov & Gimelshein 2018) over tiles of positions; over the last WINDOW positions where that is
// not 0, with scores s as SOFTCAP · tanh(s / SOFTCAP) where that is not 0.
// Query n of a key/value head is row n / GROUP of query head n % GROUP of its group. A workgroup
// computes 4 · PARTS queries over one split of the positions, so that keys and values are read once
// for all of them. An invocation ("lane") scores four positions of a tile of 4 · QUADS, then sums
// one quad of the head. Matrices have a column for each element of a head or each position, and a
// row for each of four queries. If there are several splits, each writes a partial result
// (attention_merge.wgsl).
// The sinks, a file of sinks/, define
//   with_sink(total, largest, head): the total weight of a query with that of its head's sink.
// The cache, a file of caches/, defines
//   key(row, quad), value(row, quad): four elements.
// The loads, a file of loads/, read vectors that all lanes need from workgroup memory, each lane by
// itself or four lanes for each other:
//   load_index(lane): the part that this lane loads, among the lanes that share loads;
//   four_vectors(first, index): staged[first] to staged[first + 3];
//   first_elements(first, index): the first element of each of these;
//   largest_at(first, index): the elementwise maximum of QUADS vectors from staged[first] on.
#import lib/step
#import lib/splits
#import lib/ring
#import lib/tanh
#import lib/logistic
const SINKS = 6; // binding
#import sinks
#import cache
#import loads
override Q_STRIDE: u32;
override Y_STRIDE: u32;
override GROUP: u32; // query heads of a key/value head
override PARTS: u32; // parts of four queries: 1 or 2; PARTS · QUADS is at most 64
override LONE: u32; // 1 if the second part has only one query
override SCALE: f32;
override SOFTCAP: f32;
override FIRST_GATE: u32; // column in rows of q of the first head's gate, 0 without gates

@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>; // [rows, Q_STRIDE / 4]
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>; // [rows, Y_STRIDE / 4]
@group(0) @binding(5)
var<storage, read_write> partials: array<vec4<f32>>; // [splits, HEADS, QUADS + 1]

const NONE: f32 = -3.4e38; // score of a position that a query does not see

// Queries of each part, element by element, [PARTS, 4 · QUADS]; weights of the positions of a tile,
// [PARTS, 4 · QUADS]; largest scores of each lane, [PARTS, QUADS].
const TILE_WEIGHTS = 256u;
const LARGEST = 512u;
var<workgroup> staged: array<vec4<f32>, 576>;

// State of four queries.
struct Part {
    first: u32, // index of the first query
    oldest: vec4<u32>, // first position that each sees
    end: vec4<u32>, // end of the positions that each sees
    largest: vec4<f32>, // score so far
    total: vec4<f32>, // of the weights so far
    sums: mat4x4<f32>, // of a quad of the values, weighted
}

fn row_of(n: u32) -> u32 {
    return min(n / GROUP, step.rows - 1u);
}

// Index in a row of the first quad of the head of query n.
fn head_of(kv: u32, n: u32) -> u32 {
    return (kv * GROUP + n % GROUP) * QUADS;
}

fn query(kv: u32, n: u32, quad: u32) -> vec4<f32> {
    return SCALE * q[row_of(n) * (Q_STRIDE / 4u) + head_of(kv, n) + quad];
}

fn part(kv: u32, index: u32, first: u32, lane: u32) -> Part {
    let elements = transpose(mat4x4<f32>(
        query(kv, first, lane),
        query(kv, first + 1u, lane),
        query(kv, first + 2u, lane),
        query(kv, first + 3u, lane),
    ));
    let at = 4u * (index * QUADS + lane);
    staged[at] = elements[0];
    staged[at + 1u] = elements[1];
    staged[at + 2u] = elements[2];
    staged[at + 3u] = elements[3];
    let rows = vec4<u32>(row_of(first), row_of(first + 1u), row_of(first + 2u), row_of(first + 3u));
    let oldest = vec4<u32>(
        oldest_seen(rows.x), oldest_seen(rows.y), oldest_seen(rows.z), oldest_seen(rows.w),
    );
    let end =
        vec4<u32>(end_seen(rows.x), end_seen(rows.y), end_seen(rows.z), end_seen(rows.w));
    return Part(first, oldest, end, vec4<f32>(NONE), vec4<f32>(), mat4x4<f32>());
}

fn capped(score: f32) -> f32 {
    return SOFTCAP * accurate_tanh(score / SOFTCAP);
}

fn masked(scores: vec4<f32>, position: u32, a: Part) -> vec4<f32> {
    let seen = (vec4<u32>(position) >= a.oldest) & (vec4<u32>(position) < a.end);
    if (SOFTCAP != 0.0) {
        let soft =
            vec4<f32>(capped(scores.x), capped(scores.y), capped(scores.z), capped(scores.w));
        return select(vec4<f32>(NONE), soft, seen);
    }
    return select(vec4<f32>(NONE), scores, seen);
}

fn all_masked(scores: mat4x4<f32>, positions: vec4<u32>, a: Part) -> mat4x4<f32> {
    return mat4x4<f32>(
        masked(scores[0], positions.x, a),
        masked(scores[1], positions.y, a),
        masked(scores[2], positions.z, a),
        masked(scores[3], positions.w, a),
    );
}

fn largest_of(scores: mat4x4<f32>) -> vec4<f32> {
    return max(max(scores[0], scores[1]), max(scores[2], scores[3]));
}

fn weight(scores: vec4<f32>, largest: vec4<f32>) -> vec4<f32> {
    return select(vec4<f32>(), exp(scores - largest), scores > vec4<f32>(NONE));
}

// Stages the weights of a tile's scores, relative to the largest score of all tiles so far.
fn weigh(index: u32, lane: u32, load: u32, scores: mat4x4<f32>, before: Part) -> Part {
    var a = before;
    a.largest = max(a.largest, largest_at(LARGEST + index * QUADS, load));
    let first = TILE_WEIGHTS + index * 4u * QUADS + lane;
    staged[first] = weight(scores[0], a.largest);
    staged[first + QUADS] = weight(scores[1], a.largest);
    staged[first + 2u * QUADS] = weight(scores[2], a.largest);
    staged[first + 3u * QUADS] = weight(scores[3], a.largest);
    let decay = exp(before.largest - a.largest);
    a.total *= decay;
    let sums = a.sums;
    a.sums = mat4x4<f32>(sums[0] * decay, sums[1] * decay, sums[2] * decay, sums[3] * decay);
    return a;
}

fn sum_of(v: mat4x4<f32>) -> vec4<f32> {
    return v[0] + v[1] + v[2] + v[3];
}

// Factor of the output of a query.
fn gate(kv: u32, n: u32) -> f32 {
    if (FIRST_GATE == 0u) {
        return 1.0;
    }
    let column = FIRST_GATE + kv * GROUP + n % GROUP;
    return logistic(q[row_of(n) * (Q_STRIDE / 4u) + column / 4u][column % 4u]);
}

fn store_query(kv: u32, n: u32, split: u32, lane: u32, sums: vec4<f32>, largest: f32, total: f32) {
    if (n >= step.rows * GROUP) {
        return;
    }
    let sum = gate(kv, n) * sums;
    if (splits() == 1u) {
        let all = with_sink(total, largest, kv * GROUP + n % GROUP);
        y[row_of(n) * (Y_STRIDE / 4u) + head_of(kv, n) + lane] = sum / all;
        return;
    }
    let record = (split * HEADS + kv * GROUP + n) * (QUADS + 1u);
    partials[record + lane] = sum;
    if (lane == 0u) {
        partials[record + QUADS] = vec4<f32>(largest, total, 0.0, 0.0);
    }
}

fn store_part(kv: u32, split: u32, lane: u32, a: Part) {
    let sums = transpose(a.sums);
    store_query(kv, a.first, split, lane, sums[0], a.largest.x, a.total.x);
    store_query(kv, a.first + 1u, split, lane, sums[1], a.largest.y, a.total.y);
    store_query(kv, a.first + 2u, split, lane, sums[2], a.largest.z, a.total.z);
    store_query(kv, a.first + 3u, split, lane, sums[3], a.largest.w, a.total.w);
}

@compute @workgroup_size(QUADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let load = load_index(lane);
    let first_query = group.y * 4u * PARTS;
    var a = part(group.x, 0u, first_query, lane);
    var b = a;
    if (PARTS > 1u) {
        b = part(group.x, 1u, first_query + 4u, lane);
    }
    workgroupBarrier();

    let kv = group.x * QUADS;
    let range = split_range(row_of(first_query), row_of(first_query + 4u * PARTS - 1u), group.z);
    let start = range.x - cache_row(range.x);
    for (var first = range.x; first < range.y; first += 4u * QUADS) {
        let positions = first + lane + QUADS * vec4<u32>(0u, 1u, 2u, 3u);
        let p = cache_rows(min(positions, vec4<u32>(range.y - 1u)), start);
        var scores_a = mat4x4<f32>();
        var scores_b = mat4x4<f32>();
        for (var i = 0u; i < QUADS; i++) {
            let k = mat4x4<f32>(
                key(p.x, kv + i), key(p.y, kv + i), key(p.z, kv + i), key(p.w, kv + i),
            );
            scores_a += four_vectors(4u * i, load) * k;
            if (LONE == 1u) {
                let lone = first_elements(4u * (QUADS + i), load) * k;
                scores_b[0].x += lone.x;
                scores_b[1].x += lone.y;
                scores_b[2].x += lone.z;
                scores_b[3].x += lone.w;
            } else if (PARTS > 1u) {
                scores_b += four_vectors(4u * (QUADS + i), load) * k;
            }
        }
        scores_a = all_masked(scores_a, positions, a);
        staged[LARGEST + lane] = largest_of(scores_a);
        if (PARTS > 1u) {
            scores_b = all_masked(scores_b, positions, b);
            staged[LARGEST + QUADS + lane] = largest_of(scores_b);
        }
        workgroupBarrier();
        a = weigh(0u, lane, load, scores_a, a);
        if (PARTS > 1u) {
            b = weigh(1u, lane, load, scores_b, b);
        }
        workgroupBarrier();
        let count = min(4u * QUADS, range.y - first);
        for (var i = 0u; i < count; i += 4u) {
            // Four positions; those past the last have weight 0.
            let next = vec4<u32>(first + i) + vec4<u32>(0u, 1u, 2u, 3u);
            let four = cache_rows(min(next, vec4<u32>(range.y - 1u)), start);
            let v = transpose(mat4x4<f32>(
                value(four.x, kv + lane),
                value(four.y, kv + lane),
                value(four.z, kv + lane),
                value(four.w, kv + lane),
            ));
            let w = four_vectors(TILE_WEIGHTS + i, load);
            a.total += sum_of(w);
            a.sums += w * v;
            if (LONE == 1u) {
                let u = first_elements(TILE_WEIGHTS + 4u * QUADS + i, load);
                b.total.x += dot(u, vec4<f32>(1.0));
                let sums = u * v;
                b.sums[0].x += sums.x;
                b.sums[1].x += sums.y;
                b.sums[2].x += sums.z;
                b.sums[3].x += sums.w;
            } else if (PARTS > 1u) {
                let u = four_vectors(TILE_WEIGHTS + 4u * QUADS + i, load);
                b.total += sum_of(u);
                b.sums += u * v;
            }
        }
    }
    store_part(group.x, group.z, lane, a);
    if (PARTS > 1u) {
        store_part(group.x, group.z, lane, b);
    }
}
