// Tiling with operands in registers, for software adapters, which run shaders on the CPU: there,
// loads are the bottleneck and workgroup memory is slower still. A workgroup computes 32 rows × 64
// outputs, a lane two quads of outputs for all rows: it unpacks a unit of their weights, then
// multiplies it with four rows at a time. Registers cannot be indexed, so the sums rotate: each
// iteration uses the first four rows of sums and moves them behind the others. The loop body
// multiplies only four rows, so that it fits the instruction cache.
// The loads, a file of loads/, are as in matvec.wgsl: load_index, load_unit.
#import loads

const TILE_LANES = 8;
const FOURS = 8u;

// A unit of inputs of four rows.
struct Rows4 {
    r0: Inputs32,
    r1: Inputs32,
    r2: Inputs32,
    r3: Inputs32,
}

fn rows4(row: u32, unit: u32, index: u32) -> Rows4 {
    return Rows4(
        load_unit(input_start(row, unit), index),
        load_unit(input_start(row + 1u, unit), index),
        load_unit(input_start(row + 2u, unit), index),
        load_unit(input_start(row + 3u, unit), index),
    );
}

// Products of a unit of weights with four rows.
fn products(w: Weights32, v: Rows4) -> vec4<f32> {
    return vec4<f32>(
        dot_weights(w, v.r0), dot_weights(w, v.r1), dot_weights(w, v.r2), dot_weights(w, v.r3),
    );
}

fn plus(s: Sums, t: Sums) -> Sums {
    return Sums(
        s.a0 + t.a0, s.a1 + t.a1, s.a2 + t.a2, s.a3 + t.a3,
        s.b0 + t.b0, s.b1 + t.b1, s.b2 + t.b2, s.b3 + t.b3,
    );
}

// Number of fours of rows that hold `rows` rows, rounded up to a power of two.
fn fours_of(rows: u32) -> u32 {
    return select(select(select(1u, 2u, rows > 4u), 4u, rows > 8u), FOURS, rows > 16u);
}

fn compute_tile(group: vec2<u32>, lane: u32) {
    let first_row = group.x * 4u * FOURS;
    let fours = fours_of(step.rows - first_row);
    let quad = (group.y * 8u + lane) * 2u;
    let a = vec4<u32>(ROW_OFFSET) + weight_rows(quad);
    let b = vec4<u32>(ROW_OFFSET) + weight_rows(quad + 1u);
    let index = load_index(lane);
    var s0 = Sums();
    var s1 = Sums();
    var s2 = Sums();
    var s3 = Sums();
    var s4 = Sums();
    var s5 = Sums();
    var s6 = Sums();
    var s7 = Sums();
    for (var unit = 0u; unit * 32u < COLUMNS; unit++) {
        let a0 = weights32(a.x, unit);
        let a1 = weights32(a.y, unit);
        let a2 = weights32(a.z, unit);
        let a3 = weights32(a.w, unit);
        let b0 = weights32(b.x, unit);
        let b1 = weights32(b.y, unit);
        let b2 = weights32(b.z, unit);
        let b3 = weights32(b.w, unit);
        for (var four = 0u; four < fours; four++) {
            let v = rows4(first_row + 4u * four, unit, index);
            let sums = Sums(
                s0.a0 + products(a0, v), s0.a1 + products(a1, v),
                s0.a2 + products(a2, v), s0.a3 + products(a3, v),
                s0.b0 + products(b0, v), s0.b1 + products(b1, v),
                s0.b2 + products(b2, v), s0.b3 + products(b3, v),
            );
            s0 = s1;
            s1 = s2;
            s2 = s3;
            s3 = s4;
            s4 = s5;
            s5 = s6;
            s6 = s7;
            s7 = sums;
        }
    }
    // With fewer than FOURS fours, the sums of each are spread over s0 … s7, every `fours`-th one.
    if (fours < 8u) {
        s0 = plus(s0, s4);
        s1 = plus(s1, s5);
        s2 = plus(s2, s6);
        s3 = plus(s3, s7);
    }
    if (fours < 4u) {
        s0 = plus(s0, s2);
        s1 = plus(s1, s3);
    }
    if (fours < 2u) {
        s0 = plus(s0, s1);
    }
    for (var four = 0u; four < fours; four++) {
        for (var i = 0u; i < 4u; i++) {
            let row = first_row + 4u * four + i;
            finish_quad(row, quad, vec4<f32>(s0.a0[i], s0.a1[i], s0.a2[i], s0.a3[i]));
            finish_quad(row, quad + 1u, vec4<f32>(s0.b0[i], s0.b1[i], s0.b2[i], s0.b3[i]));
        }
        s0 = s1;
        s1 = s2;
        s2 = s3;
        s3 = s4;
        s4 = s5;
        s5 = s6;
        s6 = s7;
    }
}
