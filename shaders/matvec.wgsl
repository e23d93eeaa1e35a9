// y[row, o] = Σ_k weights[o, k] · x[row, k], for few rows.
// LANES invocations share a quad of outputs, each taking every LANES-th unit of 32
// weights; a workgroup has INVOCATIONS / LANES quads of one row.
// Imports from the weight format: dot32.
// The prologue is what the inputs lack:
//   prepare(row, lane): called first, by the whole workgroup;
//   unit_scale(unit): by what to multiply products with that unit;
//   input_share(row, slot): what this lane knows of a scale for all of the row, summed over lanes
//   input_scale(sum): to become that scale.
// The bias is what is added to the sums of quads, and how many bindings it has before the epilogue's:
//   biased(rows, sums), BIASES.
// The epilogue is what becomes of the outputs:
//   quad_rows(quad): rows of the weights that make a quad of outputs; past the end, any;
//   finish(lane, owns, row, quad, sums): called last, by the whole workgroup; an invocation
//   that owns a quad has its sums.
// The variant is how lanes work together:
//   input_place(lane): which part of inputs this lane loads, where lanes share that;
//   load_unit(i, place): the unit of inputs from x[i] on, as lib/products or what takes its place has it;
//   total(lane, part): called once, by the whole workgroup; the parts of a quad's lanes summed, for
//   the first of them.
#import lib/weights32
#import prologue
#import bias
#import epilogue
#import inputs
#import total
override ABOVE: u32; // rows of other tensors above the first
override COLUMNS: u32;
override ROWS: u32;
override X_STRIDE: u32;
override INVOCATIONS: u32; // of a workgroup
override LANES: u32; // a power of two, at most INVOCATIONS

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [rows, X_STRIDE / 4]

// What a lane adds to a quad of outputs, and to the scale of the row.
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
    let rows = ABOVE + own_rows;
    let row = group.y * (X_STRIDE / 4u);
    let place = input_place(lane);
    var part = Part(vec4<f32>(), input_share(group.y, slot));
    for (var unit = slot; unit * 32u < COLUMNS; unit += LANES) {
        let v = load_unit(row + unit * 8u, place);
        part.sums += (unit_scale(unit) * v.scale) * vec4<f32>(
            dot32(rows.x, unit, v),
            dot32(rows.y, unit, v),
            dot32(rows.z, unit, v),
            dot32(rows.w, unit, v),
        );
    }
    part = total(lane, part);
    let sums = biased(own_rows, input_scale(part.share) * part.sums);
    finish(lane, slot == 0u, group.y, quad, sums);
}
