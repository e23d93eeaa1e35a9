// Epilogue of embed.wgsl: y[row] = a row of the embedding matrix, unit by unit.
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>; // [rows, STRIDE / 4]

fn finish_unit(lane: u32, row: u32, unit: u32, w: Weights32) {
    if (unit * 32u >= COLUMNS) {
        return;
    }
    let i = row * (STRIDE / 4u) + unit * 8u;
    y[i] = w.w0;
    y[i + 1u] = w.w1;
    y[i + 2u] = w.w2;
    y[i + 3u] = w.w3;
    y[i + 4u] = w.w4;
    y[i + 5u] = w.w5;
    y[i + 6u] = w.w6;
    y[i + 7u] = w.w7;
}
