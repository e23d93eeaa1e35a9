// For processors that act as a GPU: loads are what costs there, and nothing passes through workgroup
// memory, which is dearer still. A lane computes 8 rows × 2 quads of outputs, a unit of 32 k at a
// time: it loads the unit of its rows, which are those of the whole workgroup, then unpacks the unit
// of one output after the other.
// How inputs are loaded is as in matvec.wgsl: input_place, load_unit.
#import inputs

const TILE_LANES = 8;

// A unit of four rows.
struct Rows4 {
    r0: Inputs32,
    r1: Inputs32,
    r2: Inputs32,
    r3: Inputs32,
}

fn rows4(row: u32, unit: u32, place: u32) -> Rows4 {
    return Rows4(
        load_unit(input_start(row, unit), place),
        load_unit(input_start(row + 1u, unit), place),
        load_unit(input_start(row + 2u, unit), place),
        load_unit(input_start(row + 3u, unit), place),
    );
}

// An output of four rows.
fn products(w: Weights32, v: Rows4) -> vec4<f32> {
    return vec4<f32>(dot_weights(w, v.r0), dot_weights(w, v.r1), dot_weights(w, v.r2), dot_weights(w, v.r3));
}

fn compute_tile(group: vec2<u32>, lane: u32) {
    let row = group.y * 8u;
    let quad = (group.x * 8u + lane) * 2u;
    let a = vec4<u32>(ABOVE) + weight_rows(quad);
    let b = vec4<u32>(ABOVE) + weight_rows(quad + 1u);
    let place = input_place(lane);
    // Of each output, the sums of rows 0 to 3 and of rows 4 to 7.
    var low_a0 = vec4<f32>();
    var low_a1 = vec4<f32>();
    var low_a2 = vec4<f32>();
    var low_a3 = vec4<f32>();
    var low_b0 = vec4<f32>();
    var low_b1 = vec4<f32>();
    var low_b2 = vec4<f32>();
    var low_b3 = vec4<f32>();
    var high_a0 = vec4<f32>();
    var high_a1 = vec4<f32>();
    var high_a2 = vec4<f32>();
    var high_a3 = vec4<f32>();
    var high_b0 = vec4<f32>();
    var high_b1 = vec4<f32>();
    var high_b2 = vec4<f32>();
    var high_b3 = vec4<f32>();
    for (var unit = 0u; unit * 32u < COLUMNS; unit++) {
        let low = rows4(row, unit, place);
        let high = rows4(row + 4u, unit, place);
        let a0 = weights32(a.x, unit);
        low_a0 += products(a0, low);
        high_a0 += products(a0, high);
        let a1 = weights32(a.y, unit);
        low_a1 += products(a1, low);
        high_a1 += products(a1, high);
        let a2 = weights32(a.z, unit);
        low_a2 += products(a2, low);
        high_a2 += products(a2, high);
        let a3 = weights32(a.w, unit);
        low_a3 += products(a3, low);
        high_a3 += products(a3, high);
        let b0 = weights32(b.x, unit);
        low_b0 += products(b0, low);
        high_b0 += products(b0, high);
        let b1 = weights32(b.y, unit);
        low_b1 += products(b1, low);
        high_b1 += products(b1, high);
        let b2 = weights32(b.z, unit);
        low_b2 += products(b2, low);
        high_b2 += products(b2, high);
        let b3 = weights32(b.w, unit);
        low_b3 += products(b3, low);
        high_b3 += products(b3, high);
    }
    for (var i = 0u; i < 4u; i++) {
        finish_quad(row + i, quad, vec4<f32>(low_a0[i], low_a1[i], low_a2[i], low_a3[i]));
        finish_quad(row + i, quad + 1u, vec4<f32>(low_b0[i], low_b1[i], low_b2[i], low_b3[i]));
        finish_quad(row + 4u + i, quad, vec4<f32>(high_a0[i], high_a1[i], high_a2[i], high_a3[i]));
        finish_quad(row + 4u + i, quad + 1u, vec4<f32>(high_b0[i], high_b1[i], high_b2[i], high_b3[i]));
    }
}
