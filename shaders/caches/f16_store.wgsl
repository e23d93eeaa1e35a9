// Writes keys or values to a KV cache in f16, two elements to a word; a part is four elements.
#import lib/halves
@group(0) @binding(2) var<storage, read_write> cache: array<vec2<u32>>; // [length, WIDTH / 4]

fn store(cached: u32, row: u32, part: u32) {
    let elements = x[row * (STRIDE / 4u) + part];
    cache[cached * (WIDTH / 4u) + part] = vec2<u32>(halves(elements.xy), halves(elements.zw));
}
