// The scan of a Mamba-2 mixer over many rows, in matrix form (Dao & Gu 2024): in a chunk of 64
// rows, with a = Δ·A and S the state before it,
//   y_l = (Σ_{s ≤ l} e^(Σ_{s < j ≤ l} a_j) · Δ_s · scores[l, s] · x_s
//          + e^(Σ_{j ≤ l} a_j) · C_l·S + D · x_l) · silu(z_l)
//   S ← e^(Σ_j a_j) · S + Σ_s e^(Σ_{s < j} a_j) · Δ_s · B_s ⊗ x_s
// Every sum of a is computed by itself, not as a difference of prefix sums: after a strong decay,
// rounding would lose the weak ones in it.
// A workgroup computes 32 columns of one head, chunk after chunk; an invocation ("lane") computes 8
// × 4 elements of each product. Workgroup memory stages only the factors of x_s, which take
// arithmetic to compute: software adapters read it more slowly than storage.
// The loads, a file of loads/, read vectors that the eight lanes of the same rows need, each lane
// by itself or four lanes for each other:
//   load_index(lane): the part that this lane loads, among the lanes that share loads;
//   places(low, high, index): of the indices of eight vectors, those that this lane loads;
//   eight_of_x(places, n), eight_factors(places, n): the eight vectors n after these indices, of x
//   and of factors.
#import lib/step
#import lib/ssm_gate
#import loads
override HEADS: u32;
override HEAD_DIM: u32;
override HEAD_STRIDE: u32; // a multiple of 16
override GROUPS: u32;
override STATE_STRIDE: u32; // a multiple of 32
override FIRST_DT: u32; // column of projected
override PROJECTED_STRIDE: u32;
override X_STRIDE: u32;
override SCORES_STRIDE: u32;
override Y_STRIDE: u32;

@group(0) @binding(1) var<storage, read> projected: array<f32>; // [rows, PROJECTED_STRIDE]
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>; // [rows, X_STRIDE / 4], convolved
@group(0) @binding(3) var<storage, read> scores: array<vec4<f32>>; // [rows, SCORES_STRIDE / 4]
@group(0) @binding(4) var<storage, read> scalars: array<f32>; // [biases of dt | A | D]
@group(0) @binding(5)
var<storage, read_write> state: array<vec4<f32>>; // [HEADS, STATE_STRIDE, HEAD_STRIDE / 4]
@group(0) @binding(6) var<storage, read_write> y: array<f32>; // [rows, Y_STRIDE]

var<workgroup> dt: array<f32, 64>; // 0 past the last row: such rows change nothing
var<workgroup> decay: array<f32, 64>; // of the state before the chunk, at each row
var<workgroup> input: array<f32, 64>; // dt of each row, decayed to the end of the chunk
var<workgroup> factors: array<vec4<f32>, 512>; // [64 rows l, 8 quads of s]

var<private> sums: array<vec4<f32>, 8>;

// Four columns of each of four rows.
struct Rows4 {
    r0: vec4<f32>,
    r1: vec4<f32>,
    r2: vec4<f32>,
    r3: vec4<f32>,
}

struct Rows8 {
    low: Rows4,
    high: Rows4,
}

fn times(l: vec4<f32>, r: Rows4) -> vec4<f32> {
    return l.x * r.r0 + l.y * r.r1 + l.z * r.r2 + l.w * r.r3;
}

// Index in x of the quad of a row that holds a column; rows past the end repeat the last one.
fn x_quad(row: u32, column: u32) -> u32 {
    return (min(row, step.rows - 1u) * X_STRIDE + column) / 4u;
}

// Indices in x for four consecutive rows.
fn x_quads(row: u32, column: u32) -> vec4<u32> {
    return vec4<u32>(
        x_quad(row, column), x_quad(row + 1u, column),
        x_quad(row + 2u, column), x_quad(row + 3u, column),
    );
}

// sums += l · r.
fn add_times(l: Rows8, r: Rows4) {
    sums[0] += times(l.low.r0, r);
    sums[1] += times(l.low.r1, r);
    sums[2] += times(l.low.r2, r);
    sums[3] += times(l.low.r3, r);
    sums[4] += times(l.high.r0, r);
    sums[5] += times(l.high.r1, r);
    sums[6] += times(l.high.r2, r);
    sums[7] += times(l.high.r3, r);
}

// Stages Δ of the rows of a chunk, and the decays from its first row and to its last row.
fn stage_decays(lane: u32, head: u32, first: u32) {
    let row = min(first + lane, step.rows - 1u);
    let raw = DT_SCALE * projected[row * PROJECTED_STRIDE + FIRST_DT + head] + scalars[head];
    dt[lane] = select(0.0, softplus(raw), first + lane < step.rows);
    workgroupBarrier();
    let a = scalars[HEADS + head];
    var before = 0.0;
    for (var j = 0u; j <= lane; j++) {
        before += dt[j] * a;
    }
    var after = 0.0;
    for (var j = lane + 1u; j < 64u; j++) {
        after += dt[j] * a;
    }
    decay[lane] = exp(before);
    input[lane] = exp(after) * dt[lane];
    workgroupBarrier();
}

// sums = C · S, decayed, for the rows of the chunk from `row` on and the columns from p on.
fn read_state(head: u32, p: u32, first: u32, row: u32, load: u32) {
    let group = head / (HEADS / GROUPS);
    let column = HEADS * HEAD_STRIDE + (GROUPS + group) * STATE_STRIDE;
    let c = places(x_quads(first + row, column), x_quads(first + row + 4u, column), load);
    let quads = HEAD_STRIDE / 4u;
    for (var n = 0u; n < STATE_STRIDE / 4u; n++) {
        let i = (head * STATE_STRIDE + 4u * n) * quads + p / 4u;
        add_times(
            eight_of_x(c, n),
            Rows4(state[i], state[i + quads], state[i + 2u * quads], state[i + 3u * quads]),
        );
    }
    sums[0] *= decay[row];
    sums[1] *= decay[row + 1u];
    sums[2] *= decay[row + 2u];
    sums[3] *= decay[row + 3u];
    sums[4] *= decay[row + 4u];
    sums[5] *= decay[row + 5u];
    sums[6] *= decay[row + 6u];
    sums[7] *= decay[row + 7u];
}

// Stages the factors of 32 rows s for each row l; an invocation stages one row l, from the row
// itself back. `sum` is the sum of Δ·A between l and the last of the rows s; returns the sum
// between l and the first of them.
fn stage_factors(lane: u32, head: u32, first: u32, first_s: u32, sum: f32) -> f32 {
    let group = head / (HEADS / GROUPS);
    let a = scalars[HEADS + head];
    let source = (min(first + lane, step.rows - 1u) * SCORES_STRIDE + group * 64u) / 4u;
    var between = sum;
    for (var quad = 8u; quad > 0u; quad--) {
        let s = first_s + (quad - 1u) * 4u;
        var row = vec4<f32>();
        if (s + 3u <= lane) {
            row.w = exp(between) * dt[s + 3u];
            between += dt[s + 3u] * a;
        }
        if (s + 2u <= lane) {
            row.z = exp(between) * dt[s + 2u];
            between += dt[s + 2u] * a;
        }
        if (s + 1u <= lane) {
            row.y = exp(between) * dt[s + 1u];
            between += dt[s + 1u] * a;
        }
        if (s <= lane) {
            row.x = exp(between) * dt[s];
            between += dt[s] * a;
            row *= scores[source + s / 4u];
        }
        factors[lane * 8u + quad - 1u] = row;
    }
    return between;
}

// Adds to `sums` what the 32 rows from first_s on contribute to the rows from `row` on. Rows
// contribute only to themselves and to later rows.
fn read_rows(column: u32, first: u32, first_s: u32, row: u32, load: u32) {
    let at = places(
        8u * (row + vec4<u32>(0u, 1u, 2u, 3u)), 8u * (row + vec4<u32>(4u, 5u, 6u, 7u)), load,
    );
    for (var quad = 0u; quad < 8u && first_s + 4u * quad < row + 8u; quad++) {
        let s = first + first_s + 4u * quad;
        let v = x_quads(s, column);
        add_times(eight_factors(at, quad), Rows4(x[v.x], x[v.y], x[v.z], x[v.w]));
    }
}

fn store(row: u32, head: u32, p: u32, sum: vec4<f32>) {
    if (row >= step.rows) {
        return;
    }
    let value = sum + scalars[2u * HEADS + head] * x[x_quad(row, head * HEAD_STRIDE + p)];
    let z = row * PROJECTED_STRIDE + head * HEAD_DIM + p;
    let i = row * Y_STRIDE + head * HEAD_DIM + p;
    if (p < HEAD_DIM) { y[i] = value.x * gate_of(projected[z]); }
    if (p + 1u < HEAD_DIM) { y[i + 1u] = value.y * gate_of(projected[z + 1u]); }
    if (p + 2u < HEAD_DIM) { y[i + 2u] = value.z * gate_of(projected[z + 2u]); }
    if (p + 3u < HEAD_DIM) { y[i + 3u] = value.w * gate_of(projected[z + 3u]); }
}

fn add_outer(low: vec4<f32>, high: vec4<f32>, v: vec4<f32>) {
    sums[0] += low.x * v;
    sums[1] += low.y * v;
    sums[2] += low.z * v;
    sums[3] += low.w * v;
    sums[4] += high.x * v;
    sums[5] += high.y * v;
    sums[6] += high.z * v;
    sums[7] += high.w * v;
}

fn decay_state(i: u32, sum: vec4<f32>) {
    state[i] = decay[63] * state[i] + sum;
}

// Writes S after the chunk: of every 64 of its rows, the eight from `row` on.
fn write_state(head: u32, p: u32, first: u32, row: u32, load: u32) {
    let column = HEADS * HEAD_STRIDE + head / (HEADS / GROUPS) * STATE_STRIDE;
    for (var n = row; n < STATE_STRIDE; n += 64u) {
        sums = array<vec4<f32>, 8>();
        for (var s = 0u; s < min(64u, step.rows - first); s += 4u) {
            let v = x_quads(first + s, head * HEAD_STRIDE + p);
            let i = x_quads(first + s, column + n);
            let b = eight_of_x(places(i, i + 1u, load), 0u);
            add_outer(b.low.r0, b.high.r0, input[s] * x[v.x]);
            add_outer(b.low.r1, b.high.r1, input[s + 1u] * x[v.y]);
            add_outer(b.low.r2, b.high.r2, input[s + 2u] * x[v.z]);
            add_outer(b.low.r3, b.high.r3, input[s + 3u] * x[v.w]);
        }
        let quads = HEAD_STRIDE / 4u;
        let i = (head * STATE_STRIDE + n) * quads + p / 4u;
        decay_state(i, sums[0]);
        decay_state(i + quads, sums[1]);
        decay_state(i + 2u * quads, sums[2]);
        decay_state(i + 3u * quads, sums[3]);
        decay_state(i + 4u * quads, sums[4]);
        decay_state(i + 5u * quads, sums[5]);
        decay_state(i + 6u * quads, sums[6]);
        decay_state(i + 7u * quads, sums[7]);
    }
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let head = group.y;
    let load = load_index(lane);
    let row = lane / 8u * 8u;
    let p = group.x * 32u + lane % 8u * 4u;
    let has_columns = p < HEAD_STRIDE;
    for (var first = 0u; first < step.rows; first += 64u) {
        let has_rows = has_columns && first + row < step.rows;
        stage_decays(lane, head, first);
        sums = array<vec4<f32>, 8>();
        if (has_rows) {
            read_state(head, p, first, row, load);
        }
        var between = 0.0;
        for (var unit = min(64u, step.rows - first + 31u) / 32u; unit > 0u; unit--) {
            let first_s = (unit - 1u) * 32u;
            between = stage_factors(lane, head, first, first_s, between);
            workgroupBarrier();
            if (has_rows) {
                read_rows(head * HEAD_STRIDE + p, first, first_s, row, load);
            }
            workgroupBarrier();
        }
        if (has_rows) {
            store(first + row, head, p, sums[0]);
            store(first + row + 1u, head, p, sums[1]);
            store(first + row + 2u, head, p, sums[2]);
            store(first + row + 3u, head, p, sums[3]);
            store(first + row + 4u, head, p, sums[4]);
            store(first + row + 5u, head, p, sums[5]);
            store(first + row + 6u, head, p, sums[6]);
            store(first + row + 7u, head, p, sums[7]);
        }
        if (has_columns) {
            write_state(head, p, first, row, load);
        }
        storageBarrier();
        workgroupBarrier();
    }
}
