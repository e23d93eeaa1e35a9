// A step of one row through a Mamba-2 mixer (Dao & Gu 2024), from its input projection to its gate:
//   Δ = softplus(dt + bias), S ← e^(Δ·A) · S + Δ · B ⊗ x, y = (C·S + D·x) · silu(z)
// where x, B and C are convolved causally. The ring holds the last inputs of the convolution in
// KERNEL slots by position, so that no workgroup writes a slot that another reads.
// A workgroup computes one head. An invocation convolves one channel of x, B and C, then
// takes one quad of the head's columns and a slice of the state's rows.
// The epilogue, a file of epilogues/, writes y:
//   finish_head(lane, owns, head, p, values): called last, by the whole workgroup; an invocation
//   that owns columns p .. p + 4 of the head has their values.
#import lib/step
#import lib/ssm_gate
#import epilogue
override HEADS: u32;
override HEAD_DIM: u32; // at most 256
override HEAD_STRIDE: u32; // a multiple of 16
override GROUPS: u32;
override STATE_SIZE: u32; // at most 256
override STATE_STRIDE: u32;
override KERNEL: u32;

@group(0) @binding(1) var<storage, read> projected: array<f32>; // [z | x | B | C | dt]
@group(0) @binding(2) var<storage, read> conv: array<f32>; // [channels, KERNEL], then biases
@group(0) @binding(3) var<storage, read> scalars: array<f32>; // [biases of dt | A | D]
@group(0) @binding(4) var<storage, read_write> ring: array<f32>; // [KERNEL, channels]
@group(0) @binding(5)
var<storage, read_write> state: array<vec4<f32>>; // [HEADS, STATE_STRIDE, HEAD_STRIDE / 4]

var<workgroup> x: array<f32, 256>; // 0 in the padding
var<workgroup> b: array<f32, 256>;
var<workgroup> c: array<f32, 256>;
var<workgroup> partial: array<vec4<f32>, 256>;

fn convolve(channel: u32, store: bool) -> f32 {
    let inner = HEADS * HEAD_DIM;
    let channels = inner + 2u * GROUPS * STATE_SIZE;
    let newest = projected[inner + channel];
    let weight = channel * KERNEL + KERNEL - 1u;
    var sum = conv[channels * KERNEL + channel] + conv[weight] * newest;
    for (var back = 1u; back < KERNEL; back++) {
        let slot = (step.position + KERNEL - back) % KERNEL;
        sum += conv[weight - back] * ring[slot * channels + channel];
    }
    if (store) {
        ring[step.position % KERNEL * channels + channel] = newest;
    }
    return silu(sum);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if (step.rows == 0u) {
        return; // past the end of the step: the state stays
    }
    let head = group.x;
    let heads_per_group = HEADS / GROUPS;
    let inner = HEADS * HEAD_DIM;
    x[lane] = 0.0;
    if (lane < HEAD_DIM) {
        x[lane] = convolve(head * HEAD_DIM + lane, true);
    }
    if (lane < STATE_SIZE) {
        // All heads of the group compute B and C; one of them stores the inputs.
        let keeps = head % heads_per_group == 0u;
        let channel = inner + head / heads_per_group * STATE_SIZE + lane;
        b[lane] = convolve(channel, keeps);
        c[lane] = convolve(channel + GROUPS * STATE_SIZE, keeps);
    }
    let raw = DT_SCALE * projected[2u * inner + 2u * GROUPS * STATE_SIZE + head];
    let dt = softplus(raw + scalars[head]);
    let decay = exp(dt * scalars[HEADS + head]);
    workgroupBarrier();

    let quads = HEAD_STRIDE / 4u;
    let p = lane % quads * 4u;
    let slices = 256u / quads; // invocations past slices · quads have no part in the sum
    let values = vec4<f32>(x[p], x[p + 1u], x[p + 2u], x[p + 3u]);
    var sum = vec4<f32>();
    if (lane < slices * quads) {
        for (var n = lane / quads; n < STATE_SIZE; n += slices) {
            let i = (head * STATE_STRIDE + n) * quads + lane % quads;
            let s = state[i] * decay + dt * b[n] * values;
            state[i] = s;
            sum += s * c[n];
        }
    }
    partial[lane] = sum;
    workgroupBarrier();
    var value = vec4<f32>();
    if (lane < quads) {
        for (var other = lane + quads; other < slices * quads; other += quads) {
            sum += partial[other];
        }
        let out = head * HEAD_DIM + p;
        // Columns past the end of the head are those of the next head; the epilogue drops them.
        let gate = vec4<f32>(
            gate_of(projected[out]), gate_of(projected[out + 1u]),
            gate_of(projected[out + 2u]), gate_of(projected[out + 3u]),
        );
        value = (sum + scalars[2u * HEADS + head] * values) * gate;
    }
    finish_head(lane, lane < quads, head, p, value);
}
