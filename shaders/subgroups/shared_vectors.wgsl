// Four lanes load a fourth each of what all of them want.
#import subgroups/place

fn shared_place(lane: u32) -> u32 {
    return input_place(lane);
}

fn four_vectors(first: u32, place: u32) -> mat4x4<f32> {
    let own = staged[first + place];
    return mat4x4<f32>(
        quadBroadcast(own, 0u), quadBroadcast(own, 1u), quadBroadcast(own, 2u), quadBroadcast(own, 3u),
    );
}

// The first of each of four vectors.
fn four_numbers(first: u32, place: u32) -> vec4<f32> {
    let own = staged[first + place].x;
    return vec4<f32>(
        quadBroadcast(own, 0u), quadBroadcast(own, 1u), quadBroadcast(own, 2u), quadBroadcast(own, 3u),
    );
}

// The largest of QUADS vectors.
fn largest_at(first: u32, place: u32) -> vec4<f32> {
    var own = staged[first + place];
    for (var i = 4u + place; i < QUADS; i += 4u) {
        own = max(own, staged[first + i]);
    }
    let pair = max(own, quadSwapX(own));
    return max(pair, quadSwapY(pair));
}
