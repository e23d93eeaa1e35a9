// Writes pairs of keys or values in f32.
@group(0) @binding(3 + BIASES)
var<storage, read_write> keys: array<vec2<f32>>; // [context, K_ROWS / 2]
@group(0) @binding(4 + BIASES)
var<storage, read_write> values: array<vec2<f32>>; // [context, width / 2]

fn store_key(pair: u32, numbers: vec2<f32>) {
    keys[pair] = numbers;
}

fn store_value(pair: u32, numbers: vec2<f32>) {
    values[pair] = numbers;
}
