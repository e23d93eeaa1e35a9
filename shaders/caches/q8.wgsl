// KV cache in signed bytes with a scale for each group of 32, read by quads of elements.
override KV_WIDTH: u32; // elements of a row

@group(0) @binding(2) var<storage, read> keys: array<u32>; // [length, 8.5 words a group]
@group(0) @binding(3) var<storage, read> values: array<u32>; // [length, 8.5 words a group]

fn row_start(row: u32) -> u32 {
    let groups = (KV_WIDTH + 31u) / 32u;
    return row * (groups * 8u + (groups + 1u) / 2u);
}

// Index in a row of the word with the scale of a quad.
fn scale_word(quad: u32) -> u32 {
    return (KV_WIDTH + 31u) / 32u * 8u + quad / 16u;
}

fn decoded(word: u32, scales: u32, quad: u32) -> vec4<f32> {
    let both = unpack2x16float(scales);
    return select(both.x, both.y, quad / 8u % 2u == 1u) * vec4<f32>(unpack4xI8(word));
}

fn key(row: u32, quad: u32) -> vec4<f32> {
    let start = row_start(row);
    return decoded(keys[start + quad], keys[start + scale_word(quad)], quad);
}

fn value(row: u32, quad: u32) -> vec4<f32> {
    let start = row_start(row);
    return decoded(values[start + quad], values[start + scale_word(quad)], quad);
}
