// Loads of attention.wgsl from workgroup memory, each lane by itself.
fn load_index(lane: u32) -> u32 {
    return 0u;
}

fn four_vectors(first: u32, index: u32) -> mat4x4<f32> {
    return mat4x4<f32>(staged[first], staged[first + 1u], staged[first + 2u], staged[first + 3u]);
}

// First elements of four vectors.
fn first_elements(first: u32, index: u32) -> vec4<f32> {
    return vec4<f32>(
        staged[first].x, staged[first + 1u].x, staged[first + 2u].x, staged[first + 3u].x,
    );
}

// Largest elements of QUADS vectors.
fn largest_at(first: u32, index: u32) -> vec4<f32> {
    var largest = staged[first];
    for (var i = 1u; i < QUADS; i++) {
        largest = max(largest, staged[first + i]);
    }
    return largest;
}
