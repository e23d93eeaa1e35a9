// y[0] = Σ x[r] / rows: the mean of a text's rows.
// A workgroup sums 64 columns, an invocation one.
#import lib/step
override WIDTH: u32;
override STRIDE: u32;

@group(0) @binding(1) var<storage, read> x: array<f32>; // [rows, STRIDE]
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // [1, STRIDE]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < WIDTH) {
        // id.y is always 0. It keeps the count from depending on a uniform alone: for loops that
        // end by a uniform, lavapipe compiles the shader again for each value.
        let count = step.rows + id.y;
        var sum = 0.0;
        for (var row = 0u; row < count; row++) {
            sum += x[row * STRIDE + id.x];
        }
        y[id.x] = sum / f32(count);
    }
}
