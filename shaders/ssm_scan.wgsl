// The scan of a Mamba-2 mixer over many rows, in matrix form (Dao & Gu 2024): in a chunk of 64
// rows, with a = Δ·A and S the state before it,
//   y_l = (Σ_{s ≤ l} e^(Σ_{s < j ≤ l} a_j) · Δ_s · scores[l, s] · x_s
//          + e^(Σ_{j ≤ l} a_j) · C_l·S + D · x_l) · silu(z_l)
//   S ← e^(Σ_j a_j) · S + Σ_s e^(Σ_{s < j} a_j) · Δ_s · B_s ⊗ x_s
// Every sum of a is taken over its own rows: in a difference of two long sums, after one strong
// decay, the weak ones would be lost.
// A workgroup computes 16 columns of one head, chunk after chunk, as products of tiles that it
// stages in workgroup memory; an invocation computes 4 × 4 of each product.
#import lib/step
#import lib/ssm
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
@group(0) @binding(5) var<storage, read_write> state: array<vec4<f32>>; // [HEADS, STATE_STRIDE, HEAD_STRIDE / 4]
@group(0) @binding(6) var<storage, read_write> y: array<f32>; // [rows, Y_STRIDE]

var<workgroup> dt: array<f32, 64>; // 0 past the last row, which then changes nothing
var<workgroup> decay: array<f32, 64>; // of the state before the chunk, at each row
var<workgroup> input: array<f32, 64>; // what is left of each row's dt after the chunk
var<workgroup> left: array<vec4<f32>, 512>;
var<workgroup> right: array<vec4<f32>, 128>; // [32, 4 quads of columns]

var<private> sums: array<vec4<f32>, 4>;

// sums += left · right, where left is [64 rows, 8 quads of 32].
fn multiply(row: u32, quad: u32) {
    var s0 = sums[0];
    var s1 = sums[1];
    var s2 = sums[2];
    var s3 = sums[3];
    for (var k = 0u; k < 8u; k++) {
        let r0 = right[k * 16u + quad];
        let r1 = right[k * 16u + 4u + quad];
        let r2 = right[k * 16u + 8u + quad];
        let r3 = right[k * 16u + 12u + quad];
        let l0 = left[row * 8u + k];
        let l1 = left[row * 8u + 8u + k];
        let l2 = left[row * 8u + 16u + k];
        let l3 = left[row * 8u + 24u + k];
        s0 += l0.x * r0 + l0.y * r1 + l0.z * r2 + l0.w * r3;
        s1 += l1.x * r0 + l1.y * r1 + l1.z * r2 + l1.w * r3;
        s2 += l2.x * r0 + l2.y * r1 + l2.z * r2 + l2.w * r3;
        s3 += l3.x * r0 + l3.y * r1 + l3.z * r2 + l3.w * r3;
    }
    sums = array<vec4<f32>, 4>(s0, s1, s2, s3);
}

// sums += leftᵀ · right, where left is [32, 16 quads of rows].
fn multiply_transposed(row: u32, quad: u32) {
    var s0 = sums[0];
    var s1 = sums[1];
    var s2 = sums[2];
    var s3 = sums[3];
    for (var k = 0u; k < 32u; k++) {
        let l = left[k * 16u + row / 4u];
        let r = right[k * 4u + quad];
        s0 += l.x * r;
        s1 += l.y * r;
        s2 += l.z * r;
        s3 += l.w * r;
    }
    sums = array<vec4<f32>, 4>(s0, s1, s2, s3);
}

// Index in x of the quad of a row that holds that column; rows past the end repeat the last one.
fn x_quad(row: u32, column: u32) -> u32 {
    return (min(row, step.rows - 1u) * X_STRIDE + column) / 4u;
}

// 32 rows of x from `first` on, the workgroup's 16 columns from `column` on.
fn stage_x(lane: u32, first: u32, column: u32) {
    for (var i = lane; i < 128u; i += 64u) {
        right[i] = x[x_quad(first + i / 4u, column) + i % 4u];
    }
}

// Δ of the rows of a chunk, and the sums of Δ·A from its beginning and to its end.
fn stage_decays(lane: u32, head: u32, first: u32) {
    let row = min(first + lane, step.rows - 1u);
    let raw = projected[row * PROJECTED_STRIDE + FIRST_DT + head] + scalars[head];
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

// sums = C · S, decayed.
fn read_state(lane: u32, head: u32, tile: u32, first: u32) {
    let group = head / (HEADS / GROUPS);
    let column = HEADS * HEAD_STRIDE + (GROUPS + group) * STATE_STRIDE;
    sums = array<vec4<f32>, 4>();
    for (var n = 0u; n < STATE_STRIDE; n += 32u) {
        for (var i = lane; i < 512u; i += 64u) {
            left[i] = decay[i / 8u] * x[x_quad(first + i / 8u, column + n) + i % 8u];
        }
        for (var i = lane; i < 128u; i += 64u) {
            right[i] = state[(head * STATE_STRIDE + n + i / 4u) * (HEAD_STRIDE / 4u) + tile * 4u + i % 4u];
        }
        workgroupBarrier();
        multiply(lane / 4u * 4u, lane % 4u);
        workgroupBarrier();
    }
}

// sums += what the chunk's own rows give to each other.
fn read_rows(lane: u32, head: u32, tile: u32, first: u32) {
    let group = head / (HEADS / GROUPS);
    let a = scalars[HEADS + head];
    let source = (min(first + lane, step.rows - 1u) * SCORES_STRIDE + group * 64u) / 4u;
    // An invocation stages one row of left, from the row itself back to the chunk's first.
    var sum = 0.0;
    for (var unit = min(64u, step.rows - first + 31u) / 32u; unit > 0u; unit--) {
        let first_s = (unit - 1u) * 32u;
        for (var quad = 8u; quad > 0u; quad--) {
            let s = first_s + (quad - 1u) * 4u;
            var weights = vec4<f32>();
            if (s + 3u <= lane) {
                weights.w = exp(sum) * dt[s + 3u];
                sum += dt[s + 3u] * a;
            }
            if (s + 2u <= lane) {
                weights.z = exp(sum) * dt[s + 2u];
                sum += dt[s + 2u] * a;
            }
            if (s + 1u <= lane) {
                weights.y = exp(sum) * dt[s + 1u];
                sum += dt[s + 1u] * a;
            }
            if (s <= lane) {
                weights.x = exp(sum) * dt[s];
                sum += dt[s] * a;
                weights *= scores[source + s / 4u];
            }
            left[lane * 8u + quad - 1u] = weights;
        }
        stage_x(lane, first + first_s, head * HEAD_STRIDE + tile * 16u);
        workgroupBarrier();
        multiply(lane / 4u * 4u, lane % 4u);
        workgroupBarrier();
    }
}

fn store(row: u32, head: u32, p: u32, sum: vec4<f32>) {
    if (row >= step.rows) {
        return;
    }
    let value = sum + scalars[2u * HEADS + head] * x[x_quad(row, head * HEAD_STRIDE + p)];
    let z = row * PROJECTED_STRIDE + head * HEAD_DIM + p;
    let i = row * Y_STRIDE + head * HEAD_DIM + p;
    if (p < HEAD_DIM) { y[i] = value.x * silu(projected[z]); }
    if (p + 1u < HEAD_DIM) { y[i + 1u] = value.y * silu(projected[z + 1u]); }
    if (p + 2u < HEAD_DIM) { y[i + 2u] = value.z * silu(projected[z + 2u]); }
    if (p + 3u < HEAD_DIM) { y[i + 3u] = value.w * silu(projected[z + 3u]); }
}

// S after the chunk, 64 of its rows at a time.
fn write_state(lane: u32, head: u32, tile: u32, first: u32) {
    let column = HEADS * HEAD_STRIDE + head / (HEADS / GROUPS) * STATE_STRIDE;
    for (var n = 0u; n < STATE_STRIDE; n += 64u) {
        sums = array<vec4<f32>, 4>();
        for (var s = 0u; s < min(64u, step.rows - first); s += 32u) {
            for (var i = lane; i < 512u; i += 64u) {
                // Of a state of 32 rows, the second half of the tile is not written.
                let quad = min(n + i % 16u * 4u, STATE_STRIDE - 4u);
                left[i] = input[s + i / 16u] * x[x_quad(first + s + i / 16u, column + quad)];
            }
            stage_x(lane, first + s, head * HEAD_STRIDE + tile * 16u);
            workgroupBarrier();
            multiply_transposed(lane / 4u * 4u, lane % 4u);
            workgroupBarrier();
        }
        let row = n + lane / 4u * 4u;
        if (row < STATE_STRIDE) {
            let quads = HEAD_STRIDE / 4u;
            let i = (head * STATE_STRIDE + row) * quads + tile * 4u + lane % 4u;
            state[i] = decay[63] * state[i] + sums[0];
            state[i + quads] = decay[63] * state[i + quads] + sums[1];
            state[i + 2u * quads] = decay[63] * state[i + 2u * quads] + sums[2];
            state[i + 3u * quads] = decay[63] * state[i + 3u * quads] + sums[3];
        }
    }
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let tile = group.x;
    let head = group.y;
    for (var first = 0u; first < step.rows; first += 64u) {
        stage_decays(lane, head, first);
        read_state(lane, head, tile, first);
        read_rows(lane, head, tile, first);
        let row = first + lane / 4u * 4u;
        let p = tile * 16u + lane % 4u * 4u;
        store(row, head, p, sums[0]);
        store(row + 1u, head, p, sums[1]);
        store(row + 2u, head, p, sums[2]);
        store(row + 3u, head, p, sums[3]);
        write_state(lane, head, tile, first);
        storageBarrier();
        workgroupBarrier();
    }
}
