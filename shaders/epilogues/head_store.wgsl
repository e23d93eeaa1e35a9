// Epilogue of ssm_step.wgsl: y[head · HEAD_DIM + p] = values of a head.
@group(0) @binding(6) var<storage, read_write> y: array<f32>; // [1, HEADS · HEAD_DIM]

fn finish_head(lane: u32, owns: bool, head: u32, p: u32, values: vec4<f32>) {
    if (!owns) {
        return;
    }
    let out = head * HEAD_DIM + p;
    if (p < HEAD_DIM) { y[out] = values.x; }
    if (p + 1u < HEAD_DIM) { y[out + 1u] = values.y; }
    if (p + 2u < HEAD_DIM) { y[out + 2u] = values.z; }
    if (p + 3u < HEAD_DIM) { y[out + 3u] = values.w; }
}
