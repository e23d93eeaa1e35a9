// KV cache in f32, read by quads of elements.
override KV_WIDTH: u32; // elements of a row

@group(0) @binding(2) var<storage, read> keys: array<vec4<f32>>; // [length, KV_WIDTH / 4]
@group(0) @binding(3) var<storage, read> values: array<vec4<f32>>; // [length, KV_WIDTH / 4]

fn key(row: u32, quad: u32) -> vec4<f32> {
    return keys[row * (KV_WIDTH / 4u) + quad];
}

fn value(row: u32, quad: u32) -> vec4<f32> {
    return values[row * (KV_WIDTH / 4u) + quad];
}
