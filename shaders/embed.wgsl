// y[row] = matrix[tokens[row]] for the tokens in FIRST_ROW .. FIRST_ROW + ROWS.
// A workgroup writes 64 units of one row, an invocation one unit of 32 columns.
// Imports from the weight format: weights32.
// The epilogue is what becomes of a unit:
//   finish_unit(lane, row, unit, w): called last, by the whole workgroup, also past the end.
#import lib/weights32
#import epilogue
override COLUMNS: u32;
override FIRST_ROW: u32;
override ROWS: u32;
override STRIDE: u32;

@group(0) @binding(1) var<storage, read> tokens: array<u32>; // [rows]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let token = tokens[group.y];
    if (token < FIRST_ROW || token - FIRST_ROW >= ROWS) {
        return;
    }
    let unit = group.x * 64u + lane;
    var w: Weights32;
    if (unit * 32u < COLUMNS) {
        w = weights32(token - FIRST_ROW, unit);
    }
    finish_unit(lane, group.y, unit, w);
}
