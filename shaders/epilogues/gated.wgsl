// Epilogue of a gated linear unit: y[row, o] = f(outputs[o]) · outputs[ROWS / 2 + o], f chosen by
// FUNCTION. The upper half of the weight rows computes the gate, the lower half the gated values. A
// quad is two outputs of each.
#import lib/function
override Y_STRIDE: u32;

@group(0) @binding(2 + BIASES) var<storage, read_write> y: array<f32>; // [rows, Y_STRIDE]

fn quad_rows(quad: u32) -> vec4<u32> {
    return 2u * quad + vec4<u32>(0u, 1u, ROWS / 2u, ROWS / 2u + 1u);
}

fn finish(lane: u32, owns: bool, row: u32, quad: u32, values: vec4<f32>) {
    if (owns && 4u * quad < ROWS) {
        let out = row * Y_STRIDE + 2u * quad;
        y[out] = function_of(values.x) * values.z;
        y[out + 1u] = function_of(values.y) * values.w;
    }
}
