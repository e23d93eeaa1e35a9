// y[row] = SCALE · matrix[tokens[row]] for the tokens in FIRST_ROW .. FIRST_ROW + ROWS.
// A workgroup writes 64 units of one row, an invocation one unit of 32 columns.
// Imports from the weight format: weights32.
// The epilogue, a file of epilogues/, writes the units:
//   finish_unit(lane, row, unit, w): called last, by the whole workgroup, also past the end of the
//   row.
#import lib/weights32
#import epilogue
override COLUMNS: u32;
override FIRST_ROW: u32;
override ROWS: u32;
override SCALE: f32;
override STRIDE: u32;

@group(0) @binding(1) var<storage, read> tokens: array<u32>; // [rows]

fn scaled(w: Weights32) -> Weights32 {
    return Weights32(
        SCALE * w.w0, SCALE * w.w1, SCALE * w.w2, SCALE * w.w3,
        SCALE * w.w4, SCALE * w.w5, SCALE * w.w6, SCALE * w.w7,
    );
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let token = tokens[group.y];
    if (token < FIRST_ROW || token - FIRST_ROW >= ROWS) {
        return;
    }
    let unit = group.x * 64u + lane;
    var w: Weights32;
    if (unit * 32u < COLUMNS) {
        w = scaled(weights32(token - FIRST_ROW, unit));
    }
    finish_unit(lane, group.y, unit, w);
}
