// KV cache in f16, read by quads of elements.
override KV_WIDTH: u32; // elements of a row

@group(0) @binding(2) var<storage, read> keys: array<vec2<u32>>; // [length, KV_WIDTH / 4]
@group(0) @binding(3) var<storage, read> values: array<vec2<u32>>; // [length, KV_WIDTH / 4]

fn decoded(words: vec2<u32>) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y));
}

fn key(row: u32, quad: u32) -> vec4<f32> {
    return decoded(keys[row * (KV_WIDTH / 4u) + quad]);
}

fn value(row: u32, quad: u32) -> vec4<f32> {
    return decoded(values[row * (KV_WIDTH / 4u) + quad]);
}
