// y[row, FIRST_ROW + o] = residual[row, FIRST_ROW + o] + outputs.
#import lib/quads

@group(0) @binding(3 + BIASES) var<storage, read> residual: array<f32>; // [rows, Y_STRIDE]

fn finish(lane: u32, owns: bool, row: u32, quad: u32, sums: vec4<f32>) {
    if (owns) {
        let i = quad_start(row, quad);
        let old = vec4<f32>(residual[i], residual[i + 1u], residual[i + 2u], residual[i + 3u]);
        write_quad(row, quad, old + sums);
    }
}
