// Writes pairs of elements of keys or values to a KV cache in f32.
@group(0) @binding(3 + BIASES)
var<storage, read_write> keys: array<vec2<f32>>; // [length, K_ROWS / 2]
@group(0) @binding(4 + BIASES)
var<storage, read_write> values: array<vec2<f32>>; // [length, width / 2]

fn store_key(pair: u32, elements: vec2<f32>) {
    keys[pair] = elements;
}

fn store_value(pair: u32, elements: vec2<f32>) {
    values[pair] = elements;
}
