// Tiling with operands staged in workgroup memory, for graphics cards. A workgroup computes 64 rows
// × 32 quads of outputs, a lane 4 rows × 2 quads, each 16 apart. For each half of a unit, half of
// the lanes unpack weights, of one output each, and the other half load inputs; then all lanes read
// whole vectors.
const TILE_LANES = 256;

var<workgroup> weights: array<vec4<f32>, 512>; // [4 of k, 4 outputs of a quad, 32 quads]
var<workgroup> inputs: array<vec4<f32>, 256>; // [4 of k, 64 rows]

// Stages half a unit of the weights of an output.
fn stage_weights(lane: u32, w0: vec4<f32>, w1: vec4<f32>, w2: vec4<f32>, w3: vec4<f32>) {
    weights[lane] = w0;
    weights[128u + lane] = w1;
    weights[256u + lane] = w2;
    weights[384u + lane] = w3;
}

// Stages a quarter of a unit of the inputs of a row: 128 lanes for 64 rows.
fn stage_inputs(lane: u32, i: u32) {
    let at = lane / 64u * 128u + lane % 64u;
    inputs[at] = x[i];
    inputs[at + 64u] = x[i + 1u];
}

// sums + w · v for four columns of an output and of four rows, by fused multiply-adds.
fn multiply(sums: vec4<f32>, w: vec4<f32>, v: mat4x4<f32>) -> vec4<f32> {
    let x = fma(vec4<f32>(w.x), vec4<f32>(v[0].x, v[1].x, v[2].x, v[3].x), sums);
    let y = fma(vec4<f32>(w.y), vec4<f32>(v[0].y, v[1].y, v[2].y, v[3].y), x);
    let z = fma(vec4<f32>(w.z), vec4<f32>(v[0].z, v[1].z, v[2].z, v[3].z), y);
    return fma(vec4<f32>(w.w), vec4<f32>(v[0].w, v[1].w, v[2].w, v[3].w), z);
}

// Adds the products of half a unit.
fn add_half(before: Sums, quad: u32, row: u32) -> Sums {
    var sums = before;
    for (var k = 0u; k < 4u; k++) {
        let w = 128u * k + quad;
        let i = 64u * k + row;
        let v = mat4x4<f32>(inputs[i], inputs[i + 16u], inputs[i + 32u], inputs[i + 48u]);
        sums.a0 = multiply(sums.a0, weights[w], v);
        sums.a1 = multiply(sums.a1, weights[w + 32u], v);
        sums.a2 = multiply(sums.a2, weights[w + 64u], v);
        sums.a3 = multiply(sums.a3, weights[w + 96u], v);
        sums.b0 = multiply(sums.b0, weights[w + 16u], v);
        sums.b1 = multiply(sums.b1, weights[w + 48u], v);
        sums.b2 = multiply(sums.b2, weights[w + 80u], v);
        sums.b3 = multiply(sums.b3, weights[w + 112u], v);
    }
    return sums;
}

fn compute_tile(group: vec2<u32>, lane: u32) {
    let first_row = group.x * 64u;
    let first_quad = group.y * 32u;
    // Staged by this lane: weights of an output, or a quarter of a unit of a row.
    let unpacks = lane < 128u;
    let output = ROW_OFFSET + weight_rows(first_quad + lane % 32u)[lane / 32u % 4u];
    let input = input_start(first_row + lane % 64u, 0u) + lane / 64u % 2u * 2u;
    // Computed by this lane.
    let quad = lane % 16u;
    let row = lane / 16u;
    var sums = Sums();
    for (var half = 0u; half * 16u < COLUMNS; half++) {
        let unit = half / 2u;
        if (!unpacks) {
            stage_inputs(lane - 128u, input + half * 4u);
        } else if (half % 2u == 0u) {
            let w = weights32(output, unit);
            stage_weights(lane, w.w0, w.w1, w.w2, w.w3);
        } else {
            let w = weights32(output, unit);
            stage_weights(lane, w.w4, w.w5, w.w6, w.w7);
        }
        workgroupBarrier();
        sums = add_half(sums, quad, row);
        workgroupBarrier();
    }
    for (var i = 0u; i < 4u; i++) {
        let r = first_row + row + 16u * i;
        let a = vec4<f32>(sums.a0[i], sums.a1[i], sums.a2[i], sums.a3[i]);
        let b = vec4<f32>(sums.b0[i], sums.b1[i], sums.b2[i], sums.b3[i]);
        finish_quad(r, first_quad + quad, a);
        finish_quad(r, first_quad + quad + 16u, b);
    }
}
