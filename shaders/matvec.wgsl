// y[row, o] = Σ_k weights[o, k] · x[row, k], for few rows.
// LANES invocations share a quad of outputs, each taking every LANES-th unit of 32
// weights; a workgroup has 64 / LANES quads of one row.
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
#import lib/weights32
#import prologue
#import bias
#import epilogue
override ABOVE: u32; // rows of other tensors above the first
override COLUMNS: u32;
override ROWS: u32;
override X_STRIDE: u32;
override LANES: u32; // a power of two, at most 64

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [rows, X_STRIDE / 4]

var<workgroup> partial: array<vec4<f32>, 64>;
var<workgroup> partial_share: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    prepare(group.y, lane);
    let slot = lane % LANES;
    let quad = group.x * (64u / LANES) + lane / LANES;
    // Rows past the end repeat the last one; their sums are not written.
    let own_rows = min(quad_rows(quad), vec4<u32>(ROWS - 1u));
    let rows = ABOVE + own_rows;
    let row = group.y * (X_STRIDE / 4u);
    let share = input_share(group.y, slot);
    var sums = vec4<f32>();
    for (var unit = slot; unit * 32u < COLUMNS; unit += LANES) {
        let i = row + unit * 8u;
        let v = inputs32(x[i], x[i + 1u], x[i + 2u], x[i + 3u], x[i + 4u], x[i + 5u], x[i + 6u], x[i + 7u]);
        sums += unit_scale(unit) * vec4<f32>(
            dot32(rows.x, unit, v),
            dot32(rows.y, unit, v),
            dot32(rows.z, unit, v),
            dot32(rows.w, unit, v),
        );
    }
    partial[lane] = sums;
    partial_share[lane] = share;
    workgroupBarrier();
    // One barrier and a short loop: on software adapters a barrier costs more than the sums.
    var total_share = share;
    if (slot == 0u) {
        for (var other = lane + 1u; other < lane + LANES; other++) {
            sums += partial[other];
            total_share += partial_share[other];
        }
    }
    finish(lane, slot == 0u, group.y, quad, biased(own_rows, input_scale(total_share) * sums));
}
