// y[row, o] = output(f(SCALE · (Σ_k weights[o, k] · x[row, k] + bias[o]))), for few rows.
// LANES invocations ("lanes") share a quad of outputs, each taking every LANES-th unit of 32
// weights; a workgroup has INVOCATIONS / LANES quads of one row.
// Imports from the weight format: dot32.
// The prologue, a file of prologues/, transforms inputs:
//   prepare(row, lane): called first, by the whole workgroup;
//   unit_scale(unit): factor of the products with that unit of inputs;
//   input_share(row, slot): this lane's share of a sum over the row;
//   input_scale(sum): factor of all products with the row, computed from the sum of the shares.
// The loads, a file of loads/, fetch inputs, each lane by itself or several lanes for each other:
//   load_index(lane): the part that this lane loads, among the lanes that share loads;
//   load_unit(i, index): the 32 inputs from x[i] on, as the Inputs32 of the arithmetic.
// The reduction, a file of reductions/, sums over the lanes of a quad:
//   reduce(lane, own): called once, by the whole workgroup; returns the sum to the quad's first
//   lane.
// Bias and function, files of biases/ and functions/, transform each output by itself:
//   biased(rows, sums), activated(values); BIASES: number of bindings of the bias.
// The epilogue, a file of epilogues/, writes the outputs:
//   quad_rows(quad): weight rows of a quad of outputs; past the last quad, any rows;
//   finish(lane, owns, row, quad, values): called last, by the whole workgroup; only the invocation
//   that owns the quad has its values.
#import lib/weights32
#import prologue
#import loads
#import reduction
#import bias
#import function
#import epilogue
override ROW_OFFSET: u32; // rows of the stack before this tensor
override COLUMNS: u32;
override ROWS: u32;
override SCALE: f32;
override X_STRIDE: u32;
override INVOCATIONS: u32; // of a workgroup
override LANES: u32; // a power of two, at most INVOCATIONS

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [rows, X_STRIDE / 4]

// A lane's share of the sums of a quad of outputs, and of the sum of the prologue.
struct LaneSums {
    sums: vec4<f32>,
    share: f32,
}

@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    prepare(group.y, lane);
    let slot = lane % LANES;
    let quad = group.x * (INVOCATIONS / LANES) + lane / LANES;
    // Rows past the end repeat the last one; their sums are not written.
    let own_rows = min(quad_rows(quad), vec4<u32>(ROWS - 1u));
    let rows = ROW_OFFSET + own_rows;
    let row = group.y * (X_STRIDE / 4u);
    let index = load_index(lane);
    var own = LaneSums(vec4<f32>(), input_share(group.y, slot));
    for (var unit = slot; unit * 32u < COLUMNS; unit += LANES) {
        let v = load_unit(row + unit * 8u, index);
        own.sums += (unit_scale(unit) * v.scale) * vec4<f32>(
            dot32(rows.x, unit, v),
            dot32(rows.y, unit, v),
            dot32(rows.z, unit, v),
            dot32(rows.w, unit, v),
        );
    }
    let total = reduce(lane, own);
    let sums = input_scale(total.share) * total.sums;
    let values = activated(SCALE * biased(own_rows, sums));
    finish(lane, slot == 0u, group.y, quad, values);
}
