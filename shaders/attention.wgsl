// y = softmax(SCALE · q · keysᵀ) · values for one query head and row, online softmax
// (Milakov & Gimelshein 2018) over tiles of 64 positions; over the last WINDOW positions where
// that is not 0, with scores s as SOFTCAP · tanh(s / SOFTCAP) where that is not 0.
// A workgroup computes one head of one row. An invocation scores one position of a tile, then
// sums one quad of the head over its slice of the tile's positions.
#import lib/step
#import lib/reduce
#import lib/tanh
override STRIDE: u32;
override QUADS: u32; // quads of a head: head_dim / 4, at most 64
override SLICES: u32; // 64 / QUADS
override KV_QUADS: u32; // quads of a cache row
override HEADS_PER_KV: u32;
override SCALE: f32;
override SOFTCAP: f32;
override WINDOW: u32;

@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>; // [rows, STRIDE / 4]
@group(0) @binding(2) var<storage, read> keys: array<vec4<f32>>; // [context, KV_QUADS]
@group(0) @binding(3) var<storage, read> values: array<vec4<f32>>; // [context, KV_QUADS]
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>; // [rows, STRIDE / 4]

var<workgroup> query: array<vec4<f32>, 64>;
var<workgroup> tile_weights: array<f32, 64>;
var<workgroup> slice_sums: array<vec4<f32>, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let head = group.y * (STRIDE / 4u) + group.x * QUADS;
    let kv = (group.x / HEADS_PER_KV) * QUADS;
    let positions = step.position + group.y + 1u;
    let oldest = select(0u, positions - min(positions, WINDOW), WINDOW != 0u);
    if (lane < QUADS) {
        query[lane] = q[head + lane] * SCALE;
    }
    workgroupBarrier();

    let slice = lane / QUADS; // invocations past SLICES · QUADS sum nothing
    var largest = -3.4e38;
    var total = 0.0;
    var sums = vec4<f32>();
    for (var first = oldest; first < positions; first += 64u) {
        var score = -3.4e38;
        if (first + lane < positions) {
            let key = (first + lane) * KV_QUADS + kv;
            score = 0.0;
            for (var i = 0u; i < QUADS; i++) {
                score += dot(query[i], keys[key + i]);
            }
            if (SOFTCAP != 0.0) {
                score = SOFTCAP * accurate_tanh(score / SOFTCAP);
            }
        }
        let new_largest = max(largest, workgroup_max(lane, score));
        var weight = 0.0;
        if (first + lane < positions) {
            weight = exp(score - new_largest);
        }
        tile_weights[lane] = weight;
        let decay = exp(largest - new_largest);
        total = total * decay + workgroup_sum(lane, weight);
        largest = new_largest;
        sums *= decay;
        if (slice < SLICES) {
            let count = min(64u, positions - first);
            for (var p = slice; p < count; p += SLICES) {
                sums += tile_weights[p] * values[(first + p) * KV_QUADS + kv + lane % QUADS];
            }
        }
    }

    slice_sums[lane] = sums;
    workgroupBarrier();
    if (lane < QUADS) {
        var sum = sums;
        for (var i = 1u; i < SLICES; i++) {
            sum += slice_sums[i * QUADS + lane];
        }
        y[head + lane] = sum / total;
    }
}
