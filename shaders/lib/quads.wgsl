// Outputs in the order of the weight rows: a quad is four consecutive rows, and four columns of y.
override FIRST_ROW: u32;
override Y_STRIDE: u32;

@group(0) @binding(2 + BIASES) var<storage, read_write> y: array<f32>; // [rows, Y_STRIDE]

fn quad_rows(quad: u32) -> vec4<u32> {
    return 4u * quad + vec4<u32>(0u, 1u, 2u, 3u);
}

// Index in y of the first output of a quad.
fn quad_start(row: u32, quad: u32) -> u32 {
    return row * Y_STRIDE + FIRST_ROW + 4u * quad;
}

fn write_quad(row: u32, quad: u32, values: vec4<f32>) {
    let first = 4u * quad;
    let out = quad_start(row, quad);
    if (first < ROWS) { y[out] = values.x; }
    if (first + 1u < ROWS) { y[out + 1u] = values.y; }
    if (first + 2u < ROWS) { y[out + 2u] = values.z; }
    if (first + 3u < ROWS) { y[out + 3u] = values.w; }
}
