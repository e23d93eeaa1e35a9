// y[row, FIRST_ROW + o] = outputs.
override FIRST_ROW: u32;
override Y_STRIDE: u32;

@group(0) @binding(2) var<storage, read_write> y: array<f32>; // [rows, Y_STRIDE]

fn quad_rows(quad: u32) -> vec4<u32> {
    return 4u * quad + vec4<u32>(0u, 1u, 2u, 3u);
}

fn finish(lane: u32, owns: bool, row: u32, quad: u32, sums: vec4<f32>) {
    if (!owns) {
        return;
    }
    let first = 4u * quad;
    let out = row * Y_STRIDE + FIRST_ROW + first;
    if (first < ROWS) { y[out] = sums.x; }
    if (first + 1u < ROWS) { y[out + 1u] = sums.y; }
    if (first + 2u < ROWS) { y[out + 2u] = sums.z; }
    if (first + 3u < ROWS) { y[out + 3u] = sums.w; }
}
