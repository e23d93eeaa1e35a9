// Writes keys or values to a KV cache in f32; a part is four elements.
@group(0) @binding(2) var<storage, read_write> cache: array<vec4<f32>>; // [length, WIDTH / 4]

fn store(cached: u32, row: u32, part: u32) {
    cache[cached * (WIDTH / 4u) + part] = x[row * (STRIDE / 4u) + part];
}
