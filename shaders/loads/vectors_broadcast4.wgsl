// Loads of attention.wgsl from workgroup memory, shared by four lanes: all need the same vectors;
// each loads a quarter of them and gets the others by quadBroadcast.
#import loads/broadcast_lane

fn four_vectors(first: u32, index: u32) -> mat4x4<f32> {
    let own = staged[first + index];
    return mat4x4<f32>(
        quadBroadcast(own, 0u), quadBroadcast(own, 1u),
        quadBroadcast(own, 2u), quadBroadcast(own, 3u),
    );
}

// First elements of four vectors.
fn first_elements(first: u32, index: u32) -> vec4<f32> {
    let own = staged[first + index].x;
    return vec4<f32>(
        quadBroadcast(own, 0u), quadBroadcast(own, 1u),
        quadBroadcast(own, 2u), quadBroadcast(own, 3u),
    );
}

// Largest elements of QUADS vectors.
fn largest_at(first: u32, index: u32) -> vec4<f32> {
    var own = staged[first + index];
    for (var i = 4u + index; i < QUADS; i += 4u) {
        own = max(own, staged[first + i]);
    }
    let pair = max(own, quadSwapX(own));
    return max(pair, quadSwapY(pair));
}
