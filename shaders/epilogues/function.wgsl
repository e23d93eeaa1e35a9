// y[row, FIRST_ROW + o] = f(outputs), f chosen by FUNCTION.
#import lib/function
#import lib/quads

fn finish(lane: u32, owns: bool, row: u32, quad: u32, sums: vec4<f32>) {
    if (owns) {
        let values = vec4<f32>(
            function_of(sums.x), function_of(sums.y), function_of(sums.z), function_of(sums.w),
        );
        write_quad(row, quad, values);
    }
}
