// y = Σ_s e^(largest_s − largest) · sums_s / Σ_s e^(largest_s − largest) · total_s: what the splits s
// of attention found, as one. Not dispatched where there is one split.
// A workgroup computes one head, an invocation one quad of it.
#import lib/step
#import lib/splits

@group(0) @binding(1) var<storage, read> partials: array<vec4<f32>>; // [splits, HEADS, QUADS + 1]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>; // [HEADS, QUADS]

@compute @workgroup_size(QUADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    // The group's place is 0 and tells lavapipe that the count is not the step's alone: of loops that end
    // by a uniform it compiles a shader anew for each of its values.
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
    y[group.x * QUADS + lane] = sum / total;
}
