// Epilogue for attention heads: Q_ROWS outputs are queries, the next K_ROWS keys, the next V_ROWS
// values, the rest gates of the heads, which follow the padded queries in each row of q.
// Queries and keys are normed head by head, if there is a norm, and rotated by the row's position
// (Su et al. 2021, as in rope.wgsl); queries are stored in q, keys and values in the caches.
// A quad is two pairs of neighbors. Where RoPE pairs the halves of a head (HALVES), it is two
// neighbors of the first half and the two that are rotated with them.
// The norm, a file of head_norms/, and the store, a file of caches/, define
//   head_normed(lane, owns, rows, values): called by the whole workgroup; returns the normed
//   outputs of these weight rows to an invocation that owns a quad;
//   store_key(pair, values), store_value(pair, values): write two neighbors to a cache.
#import lib/step
#import lib/ring
#import head_norm
#import store
override Q_ROWS: u32;
override K_ROWS: u32;
override V_ROWS: u32;
override Y_STRIDE: u32;
override HEAD_DIM: u32;
override HALF: u32; // rotated pairs of a head
override HALVES: u32; // 1 if the elements of a pair are HALF apart, 0 if they are neighbors

@group(0) @binding(2 + BIASES) var<storage, read_write> q: array<vec2<f32>>; // [rows, Y_STRIDE / 2]
@group(0) @binding(5 + BIASES)
var<storage, read> table: array<f32>; // [context, 2·HALF], cosines then sines

fn quad_rows(quad: u32) -> vec4<u32> {
    let first = 4u * quad;
    let i = first % HEAD_DIM;
    if (HALVES == 1u && i < 2u * HALF && first < Q_ROWS + K_ROWS + V_ROWS) {
        return first - i / 2u + vec4<u32>(0u, 1u, HALF, HALF + 1u);
    }
    return first + vec4<u32>(0u, 1u, 2u, 3u);
}

// Pair `index` of a head, rotated if it is among the first HALF.
fn rotate(position: u32, index: u32, pair: vec2<f32>) -> vec2<f32> {
    if (index >= HALF) {
        return pair;
    }
    let cos = table[position * 2u * HALF + index];
    let sin = table[position * 2u * HALF + HALF + index];
    return vec2<f32>(pair.x * cos - pair.y * sin, pair.y * cos + pair.x * sin);
}

// A quad of a query or a key whose first output is weight row `first`, rotated.
fn rotate_quad(position: u32, first: u32, values: vec4<f32>) -> vec4<f32> {
    let i = first % HEAD_DIM;
    if (HALVES == 0u) {
        return vec4<f32>(
            rotate(position, i / 2u, values.xy), rotate(position, i / 2u + 1u, values.zw),
        );
    }
    if (i >= HALF) {
        return values;
    }
    let a = rotate(position, i, values.xz);
    let b = rotate(position, i + 1u, values.yw);
    return vec4<f32>(a.x, b.x, a.y, b.y);
}

// Stores two neighbors, the first of which is the output of weight row `weight_row`; keys and
// values in row `cached` of the caches.
fn put(cached: u32, row: u32, weight_row: u32, pair: vec2<f32>) {
    if (weight_row < Q_ROWS) {
        q[(row * Y_STRIDE + weight_row) / 2u] = pair;
    } else if (weight_row < Q_ROWS + K_ROWS) {
        store_key((cached * K_ROWS + weight_row - Q_ROWS) / 2u, pair);
    } else if (weight_row < Q_ROWS + K_ROWS + V_ROWS) {
        store_value((cached * V_ROWS + weight_row - Q_ROWS - K_ROWS) / 2u, pair);
    } else if (weight_row < ROWS) {
        let first_gate = (Q_ROWS + 31u) / 32u * 32u;
        let column = first_gate + weight_row - Q_ROWS - K_ROWS - V_ROWS;
        let is_gate = vec2<u32>(weight_row, weight_row + 1u) < vec2<u32>(ROWS);
        q[(row * Y_STRIDE + column) / 2u] = select(vec2<f32>(), pair, is_gate);
    }
}

fn finish(lane: u32, owns: bool, row: u32, quad: u32, values: vec4<f32>) {
    let rows = quad_rows(quad);
    var results = head_normed(lane, owns, rows, values);
    if (!owns || 4u * quad >= ROWS) {
        return;
    }
    let position = step.position + row;
    let cached = cache_row(position);
    if (rows.x < Q_ROWS + K_ROWS) {
        results = rotate_quad(position, rows.x, results);
    }
    put(cached, row, rows.x, results.xy);
    put(cached, row, rows.z, results.zw);
}
