// Writes keys or values to a KV cache in signed bytes with a scale for each group of 32; a part is
// two groups, whose scales share a word.
#import lib/halves
@group(0) @binding(2) var<storage, read_write> cache: array<u32>; // [length, 8.5 words a group]

const ZERO = vec4<f32>();

// Writes a group, scaled so that its largest element is 127; returns the scale, 0 for groups past
// WIDTH.
fn store_group(row_start: u32, row: u32, group: u32) -> f32 {
    let first = row * (STRIDE / 4u) + group * 8u;
    let quads = min(8u, (max(WIDTH, group * 32u) - group * 32u) / 4u);
    var largest = ZERO;
    for (var i = 0u; i < quads; i++) {
        largest = max(largest, abs(x[first + i]));
    }
    let exact = max(max(largest.x, largest.y), max(largest.z, largest.w)) / 127.0;
    let scale = unpack2x16float(halves(vec2<f32>(exact, 0.0))).x;
    for (var i = 0u; i < quads; i++) {
        let bytes = select(round(x[first + i] / scale), ZERO, scale == 0.0);
        let bounded = vec4<i32>(clamp(bytes, ZERO - 127.0, ZERO + 127.0));
        cache[row_start + group * 8u + i] = pack4xI8(bounded);
    }
    return scale;
}

fn store(cached: u32, row: u32, part: u32) {
    let groups = (WIDTH + 31u) / 32u;
    let row_start = cached * (groups * 8u + (groups + 1u) / 2u);
    let first = store_group(row_start, row, part * 2u);
    let second = store_group(row_start, row, part * 2u + 1u);
    let scales = vec2<f32>(first, second);
    cache[row_start + groups * 8u + part] = halves(scales);
}
