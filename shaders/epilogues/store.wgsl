// y[row, FIRST_ROW + o] = outputs.
#import lib/quads

fn finish(lane: u32, owns: bool, row: u32, quad: u32, sums: vec4<f32>) {
    if (owns) {
        write_quad(row, quad, sums);
    }
}
