// Epilogue for logits: y[row, FIRST_ROW + o] = outputs, and best[i] = key of the greatest score of
// the four tokens of quad i, as adjust_logits.wgsl computes it without bias and penalties.
#import lib/quads
#import lib/sampling
override VOCABULARY: u32;

@group(0) @binding(3 + BIASES) var<storage, read> sampling: SamplingParameters; // [1]
@group(0) @binding(4 + BIASES) var<storage, read_write> best: array<u32>; // [quads], as keys

fn finish(lane: u32, owns: bool, row: u32, quad: u32, values: vec4<f32>) {
    if (owns && 4u * quad < ROWS) {
        write_quad(row, quad, values);
        let i = FIRST_ROW / 4u + quad;
        best[i] = best_of_quad(i, bitcast<vec4<u32>>(values));
    }
}
