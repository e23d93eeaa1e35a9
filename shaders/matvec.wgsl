// y[row, o] = output(f(SCALE · (Σ_k weights[o, k] · x[row, k] + bias[o]))), for few rows.
// LANES invocations ("lanes") share a quad of outputs, each taking every LANES-th unit of 32
// weights; a workgroup has INVOCATIONS / LANES quads of one row.
// Imports from the weight format: dot32.
// The prologue, a file of prologues/, transforms inputs:
//   prepare(row, lane): called first, by the whole workgroup;
//   unit_scale(unit): factor of the products with that unit;
//   input_share(row, slot): this lane's summand of a scale of the whole row, summed over lanes;
//   input_scale(sum): the scale of the row, of that sum.
// The loads, a file of loads/, are how lanes load inputs:
//   load_index(lane): part of the inputs that this lane loads, where lanes share the loads;
//   load_unit(i, index): the unit of inputs from x[i] on, in the numbers of arithmetic/f32 or its
//   substitute.
// The reduction, a file of reductions/, sums over the lanes of a quad:
//   reduce(lane, part): called once, by the whole workgroup; the sum, in the quad's first lane.
// Bias and function, files of biases/ and functions/, transform outputs by themselves:
//   biased(rows, sums), activated(values); BIASES: bindings of the bias.
// The epilogue, a file of epilogues/, writes them:
//   quad_rows(quad): weight rows of a quad of outputs; past the end, any;
//   finish(lane, owns, row, quad, values): called last, by the whole workgroup; an invocation that
//   owns a quad has its values.
#import lib/weights32
#import prologue
#import loads
#import reduction
#import bias
#import function
#import epilogue
override ROW_OFFSET: u32; // rows of other tensors before the first
override COLUMNS: u32;
override ROWS: u32;
override SCALE: f32;
override X_STRIDE: u32;
override INVOCATIONS: u32; // of a workgroup
override LANES: u32; // a power of two, at most INVOCATIONS

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [rows, X_STRIDE / 4]

// A lane's summands of a quad of outputs and of the scale of the row.
struct Part {
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
    var part = Part(vec4<f32>(), input_share(group.y, slot));
    for (var unit = slot; unit * 32u < COLUMNS; unit += LANES) {
        let v = load_unit(row + unit * 8u, index);
        part.sums += (unit_scale(unit) * v.scale) * vec4<f32>(
            dot32(rows.x, unit, v),
            dot32(rows.y, unit, v),
            dot32(rows.z, unit, v),
            dot32(rows.w, unit, v),
        );
    }
    part = reduce(lane, part);
    let sums = input_scale(part.share) * part.sums;
    let values = activated(SCALE * biased(own_rows, sums));
    finish(lane, slot == 0u, group.y, quad, values);
}
