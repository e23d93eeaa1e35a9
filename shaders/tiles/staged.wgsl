// For graphics cards: a workgroup computes 64 rows × 32 quads of outputs, a lane 4 × 2 of them, 16
// apart. It goes through k by half a unit: half of the lanes unpack the weights, each of one output,
// the others load the inputs, into workgroup memory, from where all read whole vectors.
const TILE_LANES = 256;

var<workgroup> weights: array<vec4<f32>, 512>; // [4 of k, 4 outputs of a quad, 32 quads]
var<workgroup> inputs: array<vec4<f32>, 256>; // [4 of k, 64 rows]

// Two quads of outputs of four rows.
struct Sums {
    a0: vec4<f32>,
    a1: vec4<f32>,
    a2: vec4<f32>,
    a3: vec4<f32>,
    b0: vec4<f32>,
    b1: vec4<f32>,
    b2: vec4<f32>,
    b3: vec4<f32>,
}

// Half a unit of the weights of an output.
fn stage_weights(lane: u32, w0: vec4<f32>, w1: vec4<f32>, w2: vec4<f32>, w3: vec4<f32>) {
    weights[lane] = w0;
    weights[128u + lane] = w1;
    weights[256u + lane] = w2;
    weights[384u + lane] = w3;
}

// A quarter of a unit of a row: 128 lanes for 64 rows.
fn stage_inputs(lane: u32, i: u32) {
    let at = lane / 64u * 128u + lane % 64u;
    inputs[at] = x[i];
    inputs[at + 64u] = x[i + 1u];
}

// Four columns: one weight of each after another, so that each is one instruction.
fn multiply(
    sums: vec4<f32>, w0: vec4<f32>, w1: vec4<f32>, w2: vec4<f32>, w3: vec4<f32>, v: vec4<f32>,
) -> vec4<f32> {
    let x = fma(vec4<f32>(w0.x, w1.x, w2.x, w3.x), v.xxxx, sums);
    let y = fma(vec4<f32>(w0.y, w1.y, w2.y, w3.y), v.yyyy, x);
    let z = fma(vec4<f32>(w0.z, w1.z, w2.z, w3.z), v.zzzz, y);
    return fma(vec4<f32>(w0.w, w1.w, w2.w, w3.w), v.wwww, z);
}

// Half a unit of everything. Without `high`, rows from the 33rd on are left out.
fn add_half(before: Sums, quad: u32, row: u32, high: bool) -> Sums {
    var sums = before;
    for (var k = 0u; k < 4u; k++) {
        let w = 128u * k + quad;
        let v = 64u * k + row;
        let a0 = weights[w];
        let a1 = weights[w + 32u];
        let a2 = weights[w + 64u];
        let a3 = weights[w + 96u];
        let b0 = weights[w + 16u];
        let b1 = weights[w + 48u];
        let b2 = weights[w + 80u];
        let b3 = weights[w + 112u];
        let v0 = inputs[v];
        sums.a0 = multiply(sums.a0, a0, a1, a2, a3, v0);
        sums.b0 = multiply(sums.b0, b0, b1, b2, b3, v0);
        let v1 = inputs[v + 16u];
        sums.a1 = multiply(sums.a1, a0, a1, a2, a3, v1);
        sums.b1 = multiply(sums.b1, b0, b1, b2, b3, v1);
        if (high) {
            let v2 = inputs[v + 32u];
            sums.a2 = multiply(sums.a2, a0, a1, a2, a3, v2);
            sums.b2 = multiply(sums.b2, b0, b1, b2, b3, v2);
            let v3 = inputs[v + 48u];
            sums.a3 = multiply(sums.a3, a0, a1, a2, a3, v3);
            sums.b3 = multiply(sums.b3, b0, b1, b2, b3, v3);
        }
    }
    return sums;
}

fn compute_tile(group: vec2<u32>, lane: u32) {
    let first_row = group.y * 64u;
    let first_quad = group.x * 32u;
    let high = step.rows - first_row > 32u;
    // What this lane stages: a place of a quad of outputs, or a quarter of a row's unit and a half.
    let unpacks = lane < 128u;
    let output = ABOVE + weight_rows(first_quad + lane % 32u)[lane / 32u % 4u];
    let input = input_start(first_row + lane % 64u, 0u) + lane / 64u % 2u * 2u;
    // And what it computes.
    let quad = lane % 16u;
    let row = lane / 16u;
    var sums = Sums();
    for (var unit = 0u; unit * 32u < COLUMNS; unit++) {
        if (unpacks) {
            let w = weights32(output, unit);
            stage_weights(lane, w.w0, w.w1, w.w2, w.w3);
        } else {
            stage_inputs(lane - 128u, input + unit * 8u);
        }
        workgroupBarrier();
        sums = add_half(sums, quad, row, high);
        workgroupBarrier();
        if (unpacks) {
            let w = weights32(output, unit);
            stage_weights(lane, w.w4, w.w5, w.w6, w.w7);
        } else {
            stage_inputs(lane - 128u, input + unit * 8u + 4u);
        }
        workgroupBarrier();
        sums = add_half(sums, quad, row, high);
        workgroupBarrier();
    }
    let r = first_row + row;
    let q = first_quad + quad;
    finish_quad(r, q, sums.a0);
    finish_quad(r + 16u, q, sums.a1);
    finish_quad(r + 32u, q, sums.a2);
    finish_quad(r + 48u, q, sums.a3);
    finish_quad(r, q + 16u, sums.b0);
    finish_quad(r + 16u, q + 16u, sums.b1);
    finish_quad(r + 32u, q + 16u, sums.b2);
    finish_quad(r + 48u, q + 16u, sums.b3);
}
