// Outputs that are queries, keys and values, some of each, in this order: turned by the row's
// position as lib/rope says, queries stored in q, keys and values in the caches.
// A quad is two pairs of neighbors; where halves of a head turn together, the pairs that do.
// The store, a file of shaders/caches/, keeps pairs: store_key(pair, values), store_value(pair, values).
#import lib/step
#import store
override Q_ROWS: u32;
override K_ROWS: u32;
override Y_STRIDE: u32;
override HEAD_DIM: u32;
override HALF: u32; // pairs of a head that turn
override HALVES: u32; // 1 if pairs are HALF apart, 0 if they are neighbors

@group(0) @binding(2 + BIASES) var<storage, read_write> q: array<vec2<f32>>; // [rows, Y_STRIDE / 2]
@group(0) @binding(5 + BIASES) var<storage, read> table: array<f32>; // [context, 2·HALF], cosines then sines

fn quad_rows(quad: u32) -> vec4<u32> {
    let first = 4u * quad;
    let i = first % HEAD_DIM;
    if (HALVES == 1u && i < 2u * HALF) {
        return first - i / 2u + vec4<u32>(0u, 1u, HALF, HALF + 1u);
    }
    return first + vec4<u32>(0u, 1u, 2u, 3u);
}

// A pair of a head by its index, turned if it is one that turns.
fn turn(position: u32, index: u32, pair: vec2<f32>) -> vec2<f32> {
    if (index >= HALF) {
        return pair;
    }
    let cos = table[position * 2u * HALF + index];
    let sin = table[position * 2u * HALF + HALF + index];
    return vec2<f32>(pair.x * cos - pair.y * sin, pair.y * cos + pair.x * sin);
}

// Neighbors, the first of which is the output of that row of the weights.
fn put(position: u32, row: u32, weight_row: u32, pair: vec2<f32>) {
    if (weight_row < Q_ROWS) {
        q[(row * Y_STRIDE + weight_row) / 2u] = pair;
    } else if (weight_row < Q_ROWS + K_ROWS) {
        store_key((position * K_ROWS + weight_row - Q_ROWS) / 2u, pair);
    } else {
        let width = ROWS - Q_ROWS - K_ROWS;
        store_value((position * width + weight_row - Q_ROWS - K_ROWS) / 2u, pair);
    }
}

fn finish(lane: u32, owns: bool, row: u32, quad: u32, sums: vec4<f32>) {
    if (!owns || 4u * quad >= ROWS) {
        return;
    }
    let position = step.position + row;
    let rows = quad_rows(quad);
    let i = rows.x % HEAD_DIM;
    var values = sums;
    if (rows.x < Q_ROWS + K_ROWS) {
        if (HALVES == 1u) {
            if (i < HALF) {
                let first = turn(position, i, sums.xz);
                let second = turn(position, i + 1u, sums.yw);
                values = vec4<f32>(first.x, second.x, first.y, second.y);
            }
        } else {
            values = vec4<f32>(turn(position, i / 2u, sums.xy), turn(position, i / 2u + 1u, sums.zw));
        }
    }
    put(position, row, rows.x, values.xy);
    put(position, row, rows.z, values.zw);
}
