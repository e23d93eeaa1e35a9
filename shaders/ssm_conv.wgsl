// The causal convolution of a Mamba-2 mixer over many rows:
//   y[r, c] = silu(bias[c] + Σ_k weight[c, k] · x[r - KERNEL + 1 + k, c])
// Inputs before the step's first row come from the ring, which then takes the last KERNEL rows.
// Heads and groups in y are padded with zeros to the strides that the next kernels read.
// A workgroup computes 64 columns of 16 rows, an invocation one column.
#import lib/step
#import lib/ssm
override HEADS: u32;
override HEAD_DIM: u32;
override HEAD_STRIDE: u32;
override GROUPS: u32;
override STATE_SIZE: u32;
override STATE_STRIDE: u32;
override KERNEL: u32;
override X_STRIDE: u32;
override Y_STRIDE: u32;

@group(0) @binding(1) var<storage, read> projected: array<f32>; // [rows, X_STRIDE]
@group(0) @binding(2) var<storage, read> conv: array<f32>; // [channels, KERNEL], then biases
@group(0) @binding(3) var<storage, read_write> ring: array<f32>; // [KERNEL, channels]
@group(0) @binding(4) var<storage, read_write> y: array<f32>; // [rows, Y_STRIDE]

// Rows of a workgroup, at least KERNEL - 1: only the first workgroup reads the ring, so that one
// invocation both reads and writes a channel of it.
const ROWS = 16u;

fn convolve(row: u32, channel: u32) -> f32 {
    let inner = HEADS * HEAD_DIM;
    let channels = inner + 2u * GROUPS * STATE_SIZE;
    let weight = channel * KERNEL + KERNEL - 1u;
    var sum = conv[channels * KERNEL + channel];
    for (var back = 0u; back < KERNEL; back++) {
        if (back <= row) {
            sum += conv[weight - back] * projected[(row - back) * X_STRIDE + inner + channel];
        } else {
            let slot = (step.position + row + KERNEL - back) % KERNEL;
            sum += conv[weight - back] * ring[slot * channels + channel];
        }
    }
    return silu(sum);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let inner = HEADS * HEAD_DIM;
    let channels = inner + 2u * GROUPS * STATE_SIZE;
    let heads_end = HEADS * HEAD_STRIDE;
    var channel = id.x / HEAD_STRIDE * HEAD_DIM + id.x % HEAD_STRIDE;
    var is_padding = id.x % HEAD_STRIDE >= HEAD_DIM;
    if (id.x >= heads_end) {
        let i = id.x - heads_end;
        channel = inner + i / STATE_STRIDE * STATE_SIZE + i % STATE_STRIDE;
        is_padding = i % STATE_STRIDE >= STATE_SIZE;
    }
    if (id.x >= heads_end + 2u * GROUPS * STATE_STRIDE) {
        return;
    }
    let first = id.y * ROWS;
    for (var row = first; row < min(first + ROWS, step.rows); row++) {
        var value = 0.0;
        if (!is_padding) {
            value = convolve(row, channel);
        }
        y[row * Y_STRIDE + id.x] = value;
    }
    if (first == 0u && !is_padding) {
        for (var row = max(step.rows, KERNEL) - KERNEL; row < step.rows; row++) {
            let slot = (step.position + row) % KERNEL;
            ring[slot * channels + channel] = projected[row * X_STRIDE + inner + channel];
        }
    }
}
