// y = Σ_s e^(largest_s − largest) · sums_s / Σ_s e^(largest_s − largest) · total_s, over the
// partial results s of the splits of attention, with sinks as in attention.wgsl. Not dispatched for
// one split.
// A workgroup computes one head, an invocation one quad of it.
#import lib/step
#import lib/splits
const SINKS = 3; // binding
#import sinks

@group(0) @binding(1) var<storage, read> partials: array<vec4<f32>>; // [splits, HEADS, QUADS + 1]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>; // [HEADS, QUADS]

@compute @workgroup_size(QUADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    // group.y is always 0. It keeps the count from depending on a uniform alone: for loops that end
    // by a uniform, lavapipe compiles the shader again for each value.
    let count = splits() + group.y;
    let head = group.x * (QUADS + 1u);
    let of_split = HEADS * (QUADS + 1u);
    var largest = partials[head + QUADS].x;
    for (var split = 1u; split < count; split++) {
        largest = max(largest, partials[split * of_split + head + QUADS].x);
    }
    var total = 0.0;
    var sum = vec4<f32>();
    for (var split = 0u; split < count; split++) {
        let record = split * of_split + head;
        let weight = exp(partials[record + QUADS].x - largest);
        total += weight * partials[record + QUADS].y;
        sum += weight * partials[record + lane];
    }
    y[group.x * QUADS + lane] = sum / with_sink(total, largest, group.x);
}
