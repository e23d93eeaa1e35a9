// Epilogue for rows of activations: y[row, FIRST_ROW + o] = outputs + residual. If a norm of y
// follows, also its first half.
// The residual, a file of residuals/, and the partial norm, a file of partial_norms/, define
//   RESIDUALS: number of bindings of the residual;
//   residual_at(i): the residual of y[i], 0 without one;
//   partial_norm(lane, owns, row, quad, values): called last, by the whole workgroup.
#import lib/quads
#import residual
#import partial_norm

fn finish(lane: u32, owns: bool, row: u32, quad: u32, values: vec4<f32>) {
    var results = vec4<f32>();
    if (owns) {
        let i = quad_start(row, quad);
        let residuals = vec4<f32>(
            residual_at(i), residual_at(i + 1u), residual_at(i + 2u), residual_at(i + 3u),
        );
        results = residuals + values;
        write_quad(row, quad, results);
    }
    partial_norm(lane, owns, row, quad, results);
}
