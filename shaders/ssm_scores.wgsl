// y[l, group · 64 + s] = Σ_n C[l, n] · B[s, n] for the rows l and s of a chunk of 64: the part of a
// Mamba-2 scan in matrix form (Dao & Gu 2024) that is the same for all heads of a group. Rows s
// past the end repeat the last one: they are multiplied by zero later and must be finite.
// A workgroup computes a tile of 32 × 32, going through n by units of 32 that it stages in
// workgroup memory; an invocation computes 4 × 4.
#import lib/step
override X_STRIDE: u32;
override Y_STRIDE: u32;
override FIRST_B: u32; // column of x where the groups' B begin
override FIRST_C: u32;
override STATE_STRIDE: u32; // a multiple of 32

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [rows, X_STRIDE / 4]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>; // [rows, Y_STRIDE / 4]

var<workgroup> c: array<vec4<f32>, 256>; // [8 quads of n, 32 rows]
var<workgroup> b: array<vec4<f32>, 256>; // [8 quads of n, 32 rows]

fn products(b0: vec4<f32>, b1: vec4<f32>, b2: vec4<f32>, b3: vec4<f32>, v: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(dot(b0, v), dot(b1, v), dot(b2, v), dot(b3, v));
}

fn store(l: u32, column: u32, sums: vec4<f32>) {
    if (l < step.rows) {
        y[(l * Y_STRIDE + column) / 4u] = sums;
    }
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    // group.x counts the groups and their two tiles of s, group.y the tiles of l.
    let first_l = group.y * 32u;
    let tile_s = group.x % 2u * 32u;
    let first_s = first_l / 64u * 64u + tile_s;
    // The first half of the invocations stages a row of C each, the second a row of B.
    let row = select(first_l + lane, first_s + lane - 32u, lane >= 32u);
    let column = select(FIRST_C, FIRST_B, lane >= 32u) + group.x / 2u * STATE_STRIDE;
    let source = (min(row, step.rows - 1u) * X_STRIDE + column) / 4u;
    let ll = lane / 8u * 4u;
    let ss = lane % 8u * 4u;
    var sums0 = vec4<f32>();
    var sums1 = vec4<f32>();
    var sums2 = vec4<f32>();
    var sums3 = vec4<f32>();
    for (var n = 0u; n < STATE_STRIDE / 4u; n += 8u) {
        for (var quad = 0u; quad < 8u; quad++) {
            if (lane < 32u) {
                c[quad * 32u + lane] = x[source + n + quad];
            } else {
                b[quad * 32u + lane - 32u] = x[source + n + quad];
            }
        }
        workgroupBarrier();
        for (var quad = 0u; quad < 256u; quad += 32u) {
            let b0 = b[quad + ss];
            let b1 = b[quad + ss + 1u];
            let b2 = b[quad + ss + 2u];
            let b3 = b[quad + ss + 3u];
            sums0 += products(b0, b1, b2, b3, c[quad + ll]);
            sums1 += products(b0, b1, b2, b3, c[quad + ll + 1u]);
            sums2 += products(b0, b1, b2, b3, c[quad + ll + 2u]);
            sums3 += products(b0, b1, b2, b3, c[quad + ll + 3u]);
        }
        workgroupBarrier();
    }
    let out = group.x / 2u * 64u + tile_s + ss;
    store(first_l + ll, out, sums0);
    store(first_l + ll + 1u, out, sums1);
    store(first_l + ll + 2u, out, sums2);
    store(first_l + ll + 3u, out, sums3);
}
